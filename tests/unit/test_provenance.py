"""Where a result comes from."""

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gptsmith.files import read_json, sha256_of
from gptsmith.provenance import Stopwatch, checksums, write_provenance


def record(folder: Path, **facts: Any) -> dict[str, Any]:
    """What is written of a computation on `folder`'s file `input`."""
    (folder / "input").write_bytes(b"content")
    path = folder / "results" / "provenance.json"
    write_provenance(path, Stopwatch(), settings={"epochs": 2}, inputs=checksums([folder / "input"]), **facts)
    return read_json(path)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_what_is_recorded(folder: Path) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    written = record(folder, seed=5, device="cpu")
    assert written["settings"] == {"epochs": 2}
    assert written["inputs"] == {str(folder / "input"): sha256_of(folder / "input")}
    assert (written["seed"], written["device"]) == (5, "cpu")
    assert {"gptsmith", "torch", "numpy", "tiktoken"} <= written["versions"].keys()
    assert all(written["versions"].values())
    started = datetime.datetime.fromisoformat(written["started"])
    assert before <= started <= datetime.datetime.now(datetime.UTC)
    assert 0 <= written["seconds"] < 60
    assert 10 < written["peak_memory_mb"] < 100_000
    assert written["python"].count(".") == 2
    assert written["platform"]


def test_outside_a_repository_there_is_no_commit(folder: Path) -> None:
    written = record(folder)
    assert written["git_commit"] is None
    assert written["git_dirty"] is None


def test_without_git_there_is_no_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(folder, "init")
    monkeypatch.setenv("PATH", "")
    assert record(folder)["git_commit"] is None


def test_commit_and_whether_tracked_files_differ_from_it(folder: Path) -> None:
    git(folder, "init")
    (folder / "code.py").write_text("a = 1\n")
    (folder / "messages.dvc").write_text("md5: 1\n")
    git(folder, "add", "code.py", "messages.dvc")
    git(folder, "commit", "-m", "first")
    (folder / "messages.dvc").write_text("md5: 2\n")  # as a run leaves it
    written = record(folder)  # `input` and results are not tracked
    assert written["git_commit"] == git(folder, "rev-parse", "HEAD")
    assert written["git_dirty"] is False
    (folder / "code.py").write_text("a = 2\n")
    assert record(folder)["git_dirty"] is True
    git(folder, "add", "code.py")
    assert record(folder)["git_dirty"] is True


def test_time_is_measured_from_the_start_of_the_stopwatch(folder: Path) -> None:
    started = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    early = Stopwatch(started=started, monotonic=Stopwatch().monotonic - 1000)
    write_provenance(folder / "p.json", early, settings={}, inputs={})
    written = read_json(folder / "p.json")
    assert 1000 <= written["seconds"] < 1060
    assert written["started"] == "2024-05-06T07:08:09+00:00"
