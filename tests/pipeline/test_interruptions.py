"""A run that is broken off, in whatever way, is taken up by the same command and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gptsmith.files import read_json
from tests.pipeline.conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def long_training(copied_project: Project) -> Project:
    """A finished project in which one training has to be made again, and takes its time."""
    config = copied_project.config()
    config["runs"]["spam"]["training"] = {"epochs": 20, "batch_size": 4, "evaluations": 1}
    config["execution"]["checkpoint_seconds"] = 0
    copied_project.write_config(config)
    return copied_project


def begun(project: Project) -> subprocess.Popen[str]:
    """Snakemake, in a process group of its own as in a terminal, as soon as its training has saved two states."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": str(project.folder / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    deadline = time.monotonic() + 200
    while len(states(project)) < 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def progress(project: Project) -> dict[str, Any]:
    """What `gptsmith progress` says of the one run in the folder."""
    code = "import sys; sys.argv = ['gptsmith', 'progress', '--json']; from gptsmith.cli.app import main; main()"
    environment = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=project.folder, env=environment, capture_output=True, check=True
    )
    (run,) = json.loads(shown.stdout)["runs"]
    return run


def states(project: Project) -> list[Path]:
    return list((project.folder / ".gptsmith" / "state").glob("*/*.safetensors"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_same_command_goes_on(number: signal.Signals, long_training: Project) -> None:
    """After a power cut, a shutdown, and Ctrl-C."""
    process = begun(long_training)
    seen = progress(long_training)
    assert (seen["name"], seen["state"]) == ("tiny", "running")
    assert "finetune tiny/spam/seed-1" in {f"{job['rule']} {job['what']}" for job in seen["running"]}
    assert seen["waiting"].keys() >= {"predict", "evaluate", "summarize", "report"}
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=100)
    assert process.returncode != 0
    assert progress(long_training)["state"] == ("broken off" if number == signal.SIGKILL else "failed")
    if number != signal.SIGKILL:
        assert "spam, seed 1: stopped after step" in said, said
        assert said.rstrip().splitlines()[-1] == "error: interrupted"
    long_training.run()
    seen = progress(long_training)
    assert (seen["state"], seen["jobs"]["done"]) == ("done", seen["jobs"]["total"])
    assert long_training.planned() == {}
    provenance = read_json(long_training.folder / "results" / "tiny" / "spam" / "seed-1" / "provenance.json")
    assert len(provenance["resumed_after_steps"]) == 1
    assert states(long_training) == []
