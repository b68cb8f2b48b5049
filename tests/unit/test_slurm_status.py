"""Which program tells the state of Slurm's jobs, with programs that only pretend to be Slurm's."""

from pathlib import Path

import pytest

from gptsmith.errors import UserError
from gptsmith.scheduling.slurm import status_command


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return tmp_path


def pretend(folder: Path, name: str, answer: str, status: int = 0) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("wanted", ["sacct", "squeue"])
def test_with_accounting_either_works(programs: Path, wanted: str) -> None:
    pretend(programs, "scontrol", "MinJobAge               = 2 sec")
    pretend(programs, "sacct", "")
    assert status_command(wanted) == wanted


def test_without_accounting_jobs_are_looked_for_in_the_queue(programs: Path) -> None:
    pretend(programs, "scontrol", "MinJobAge               = 300 sec")
    pretend(programs, "sacct", "Slurm accounting storage is disabled", status=1)
    assert status_command("sacct") == "squeue"


def test_neither_works(programs: Path) -> None:
    pretend(programs, "scontrol", "MinJobAge               = 2 sec")
    pretend(programs, "sacct", "Slurm accounting storage is disabled", status=1)
    with pytest.raises(UserError, match="MinJobAge=200"):
        status_command("sacct")


def test_no_slurm(programs: Path) -> None:
    pretend(programs, "scontrol", "Unable to contact slurm controller", status=1)
    with pytest.raises(UserError, match="no Slurm answers"):
        status_command("sacct")
