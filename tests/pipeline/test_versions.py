"""Data, checkpoints and results as versions: recorded, pushed, restored in a clone; and what is planned then."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gptsmith.files import sha256_of

if TYPE_CHECKING:
    from conftest import Project

ROOT = Path(__file__).parents[2]
MODEL = "checkpoints/finetuned/tiny/spam/seed-1/model.safetensors"
AGAIN = {"finetune": 1, "predict": 1, "evaluate": 1, "summarize": 1, "collect_metrics": 1, "report": 1}

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the settings of who runs the tests, nor what DVC remembers between them."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Somebody")
            patch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
        yield


def git(project: "Project", *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=project.folder, check=True, capture_output=True, text=True).stdout


def dvc(project: "Project", *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    result = subprocess.run(command, cwd=project.folder, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def keep(project: "Project", message: str) -> str:
    """What a run says is to be done; returns the commit."""
    git(project, "add", "*.dvc", "results/tiny")
    git(project, "commit", "--all", "--message", message)
    return git(project, "rev-parse", "HEAD").strip()


def set_learning_rate(project: "Project", value: float) -> None:
    config = json.loads(json.dumps(project.config()))
    config["runs"]["spam"]["training"]["learning_rate"] = value
    project.write_config(config)


def in_git(project: "Project", **versions: Any) -> "Project":
    """Make the project a git repository, as a clone of it is."""
    for part in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / part, project.folder)
    (project.folder / ".dvc").mkdir()
    for part in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / part, project.folder / ".dvc")
    project.write_config(project.config() | {"execution": {"threads": 1, "versions": versions}})
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "The code")
    return project


@dataclass(frozen=True)
class Origin:
    """A project with two versions, both in the remote; the second one is checked out."""

    project: "Project"
    first: str
    second: str
    models: dict[str, str]
    """The hash of the spam model in each commit."""

    def clone(self, folder: Path) -> "Project":
        subprocess.run(["git", "clone", "--quiet", self.project.folder, folder], check=True)
        return type(self.project)(folder)


@pytest.fixture(scope="module")
def origin(finished_project: "Project", tmp_path_factory: pytest.TempPathFactory) -> Origin:
    folder = tmp_path_factory.mktemp("versions")
    project = type(finished_project)(Path(shutil.copytree(finished_project.folder, folder / "the origin")))
    in_git(project, remote=str(folder / "remote"))
    models = {}
    commits = []
    for learning_rate in (1e-4, 1e-3):
        set_learning_rate(project, learning_rate)
        result = project.snakemake()
        assert result.returncode == 0, result.stdout + result.stderr
        assert "git add '*.dvc' results/tiny" in result.stdout
        # What is the user's to do, nobody has done: nothing is staged, nothing committed.
        assert git(project, "diff", "--cached", "--name-only") == ""
        commits.append(keep(project, f"Learning rate {learning_rate}"))
        assert git(project, "status", "--porcelain") == ""
        models[commits[-1]] = sha256_of(project.folder / MODEL)
        project.run("push")
    assert len(set(models.values())) == 2
    return Origin(project, commits[0], commits[1], models)


def leave_as_found(project: "Project") -> None:
    git(project, "checkout", "--quiet", ".")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize("time_over", range(5))
def test_a_restored_clone_has_nothing_to_do_and_notices_edits(origin: Origin, tmp_path: Path, time_over: int) -> None:
    links = ("symlink", "copy")[time_over % 2]
    clone = origin.clone(tmp_path / "a clone")
    dvc(clone, "config", "--local", "cache.type", links)
    git(clone, "checkout", "--quiet", origin.first)
    clone.run("restore")
    assert sha256_of(clone.folder / MODEL) == origin.models[origin.first]

    git(clone, "checkout", "--quiet", origin.second)
    clone.run("restore")
    assert sha256_of(clone.folder / MODEL) == origin.models[origin.second]
    assert (clone.folder / MODEL).is_symlink() == (links == "symlink")
    assert not (clone.folder / "cache").exists()
    assert clone.planned() == {}

    set_learning_rate(clone, 1e-2)
    assert clone.planned() == AGAIN
    leave_as_found(clone)
    module = clone.folder / "src" / "gptsmith" / "report" / "wording.py"
    module.write_text(module.read_text() + "\nEDITED = True\n")
    assert clone.planned() == {"report": 1}
    leave_as_found(clone)

    git(clone, "checkout", "--quiet", origin.first)
    dvc(clone, "checkout")
    assert sha256_of(clone.folder / MODEL) == origin.models[origin.first]
    assert clone.planned() == {}
    leave_as_found(clone)


@pytest.mark.slow
def test_versions_travel_through_s3(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3, server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-identity")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        endpoint = "http://{}:{}".format(*moto.get_host_and_port())
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="versions")
        sender = origin.clone(tmp_path / "sender")
        sender.run("restore")
        config = sender.config()
        config["execution"]["versions"] = {"remote": "s3://versions/tiny", "endpoint": endpoint}
        sender.write_config(config)
        sender.run("push")
        keep(sender, "Another remote")

        receiver = type(sender)(tmp_path / "receiver")
        subprocess.run(["git", "clone", "--quiet", sender.folder, receiver.folder], check=True)
        receiver.run("restore")
    finally:
        moto.stop()
    assert sha256_of(receiver.folder / MODEL) == origin.models[origin.second]
    assert receiver.planned() == {}
    texts = [path for path in receiver.folder.rglob("*") if path.is_file() and ".dvc/cache" not in path.as_posix()]
    assert not [path for path in texts if b"a-secret" in path.read_bytes()]


@pytest.mark.slow
def test_what_dvc_shows_between_two_commits(origin: Origin) -> None:
    difference = json.loads(dvc(origin.project, "metrics", "diff", origin.first, origin.second, "--json"))
    changed = difference["results/tiny/metrics.json"]
    assert {name.split(".")[0] for name in changed} <= {"spam"}
    plots = json.loads(dvc(origin.project, "plots", "diff", origin.first, origin.second, "--json"))
    assert not plots.get("errors")
    assert plots["data"].keys() == {"spam: loss", "assistant: loss", "spam: ROC curve", "spam: confusion"}
    revisions = {row["rev"] for row in plots["data"]["spam: loss"][0]["content"]["data"]["values"]}
    assert revisions == {origin.first, origin.second}
    shown = dvc(origin.project, "plots", "show", "--out", str(origin.project.folder / ".dvc" / "tmp" / "plots"))
    assert "index.html" in shown
    description = yaml.safe_load((origin.project.folder / "results/tiny/dvc.yaml").read_text())
    spam = description["artifacts"]["model-spam"]
    assert spam == {"type": "model", "path": "../../checkpoints/finetuned/tiny/spam"}


@pytest.mark.slow
def test_a_run_in_a_restored_clone_leaves_the_cache_alone(origin: Origin, tmp_path: Path) -> None:
    clone = origin.clone(tmp_path / "a clone")
    clone.run("restore")
    cache = clone.folder / ".dvc" / "cache" / "files"
    before = {path: sha256_of(path) for path in cache.rglob("*") if path.is_file()}
    config = clone.config()
    config["evaluation"]["bootstrap_samples"] = 60
    clone.write_config(config)
    clone.run("spam")
    assert not (clone.folder / "results/tiny/spam/summary.json").is_symlink()
    assert {path: sha256_of(path) for path in before} == before
    changed = git(clone, "status", "--porcelain").split("\n")
    assert [line[3:] for line in changed if line] == [
        "config.yaml",
        "results/tiny/snakemake.json.dvc",
        "results/tiny/spam.dvc",
    ]


@pytest.mark.slow
def test_what_was_never_recorded_is_not_overwritten(origin: Origin, tmp_path: Path) -> None:
    clone = origin.clone(tmp_path / "a clone")
    mine = clone.folder / MODEL
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"trained for a week")
    result = clone.snakemake("restore")
    assert result.returncode != 0
    assert f"error: not recorded, and restoring would overwrite it: {MODEL}" in result.stderr
    assert mine.read_bytes() == b"trained for a week"


@pytest.mark.slow
def test_a_file_of_ones_own_comes_back_with_restore(origin: Origin, tmp_path: Path) -> None:
    project = origin.clone(tmp_path / "mine")
    project.run("restore")
    git(project, "rm", "--quiet", "--cached", "messages.csv")
    dvc(project, "add", "messages.csv")
    project.run("push")
    keep(project, "The messages are DVC's")
    clone = type(project)(tmp_path / "a clone")
    subprocess.run(["git", "clone", "--quiet", project.folder, clone.folder], check=True)
    clone.run("restore")
    assert (clone.folder / "messages.csv").read_bytes() == (project.folder / "messages.csv").read_bytes()
    assert clone.planned() == {}


@pytest.mark.slow
def test_a_second_command_waits_for_the_first(origin: Origin) -> None:
    hold = "import sys; from dvc.repo import Repo\nwith Repo('.').lock: print('held', flush=True); sys.stdin.read()"
    folder = origin.project.folder
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", hold], cwd=folder, **pipes) as first:
        assert first.stdout.readline() == "held\n"
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "track"]
        variables = os.environ | {"PYTHONPATH": str(folder / "src")}
        with subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.DEVNULL) as second:
            time.sleep(8)  # DVC by itself gives up after three seconds
            waited = second.poll() is None
            first.stdin.close()
            assert second.wait(60) == 0
    assert waited


@pytest.mark.slow
def test_where_recording_fails_the_run_is_done_and_the_remedy_is_told(copied_project: "Project") -> None:
    in_git(copied_project)
    (copied_project.folder / ".dvc" / "cache").write_text("not a folder")
    (copied_project.folder / "results/tiny/report.html").unlink()
    result = copied_project.snakemake()
    assert result.returncode == 0
    assert "not recorded as a version. Later: snakemake --cores 1 track" in result.stderr
    assert "Traceback" not in result.stderr
    (copied_project.folder / ".dvc" / "cache").unlink()
    copied_project.run("track")
    assert (copied_project.folder / "results/tiny/report.html.dvc").is_file()


def test_outside_of_git_nothing_is_recorded(copied_project: "Project") -> None:
    (copied_project.folder / "results/tiny/report.html").unlink()
    copied_project.run()
    assert not list(copied_project.folder.rglob("*.dvc"))
    result = copied_project.snakemake("track")
    assert result.returncode != 0
    assert "error: versions need a git repository" in result.stderr


def test_recording_can_be_turned_off(copied_project: "Project") -> None:
    in_git(copied_project, track=False)
    (copied_project.folder / "results/tiny/report.html").unlink()
    copied_project.run()
    assert git(copied_project, "status", "--porcelain") == ""
