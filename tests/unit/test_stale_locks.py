"""Locks of a Snakemake that was killed are removed, those of one that runs are not."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gptsmith.stale_locks import hold_folder

HOLD = "from gptsmith.stale_locks import hold_folder; held = hold_folder(); print('held', flush=True); input()"


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    file.parent.mkdir(parents=True)
    hold_folder().close()
    file.write_text("results/report.html\n")
    return file


def test_a_lock_without_a_run_is_removed(lock: Path) -> None:
    with hold_folder():
        assert not lock.exists()


def test_a_run_keeps_its_lock_until_it_is_killed(lock: Path) -> None:
    content = lock.read_text()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], text=True, **pipes) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        lock.write_text(content)
        for _ in range(2):  # another that runs beside it changes nothing
            with hold_folder():
                assert lock.exists()
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    with hold_folder():
        assert not lock.exists()


def test_a_job_that_outlives_its_run_keeps_the_lock(lock: Path) -> None:
    content = lock.read_text()
    hold_folder().close()
    lock.write_text(content)
    job = "from gptsmith.command import run; run(lambda: (print('held', flush=True), input()))"
    with subprocess.Popen(
        [sys.executable, "-c", job], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with hold_folder():
            assert lock.exists()
        process.kill()
    with hold_folder():
        assert not lock.exists()


def test_a_lock_of_another_machine_is_left_to_snakemake(lock: Path) -> None:
    (lock.parents[2] / ".gptsmith" / "running").write_text("another-machine")
    with hold_folder():
        assert lock.exists()


def test_where_nothing_can_be_written_snakemake_decides(lock: Path) -> None:
    shutil.rmtree(lock.parents[2] / ".gptsmith")
    (lock.parents[2] / ".gptsmith").write_text("not a folder")
    assert hold_folder() is None
    assert lock.exists()
