"""GPUs are counted without torch, and jobs side by side get different ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from gptsmith.scheduling.gpus import visible_gpus

# Says which GPUs it has, and keeps them until its input ends.
JOB = """
import os, sys
from gptsmith.scheduling.gpus import claim_gpus
claim_gpus(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


class Job:
    def __init__(self, n: int) -> None:
        command = [sys.executable, "-c", JOB, str(n)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.gpus = self.process.stdout.readline().strip().split(",")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def four_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_jobs_side_by_side_have_different_gpus(four_gpus: None) -> None:
    jobs = [Job(2), Job(1), Job(1)]
    assert sorted(gpu for job in jobs for gpu in job.gpus) == ["0", "1", "2", "3"]
    # A kill gives them back, and what is too many is shared.
    jobs[0].kill()
    again, shared = Job(2), Job(1)
    assert again.gpus == jobs[0].gpus
    assert shared.gpus == ["0"]
    for job in (*jobs[1:], again, shared):
        job.kill()


def test_what_a_cluster_gave_is_left_as_it_is(four_gpus: None) -> None:
    first, second = Job(4), Job(4)
    assert first.gpus == second.gpus == ["0", "1", "2", "3"]
    first.kill()
    second.kill()


@pytest.mark.parametrize(
    ("value", "gpus"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2", ["2"]),
        ("1, 0", ["1", "0"]),
        ("0,-1,1", ["0"]),
        ("GPU-8932f937,MIG-1", ["GPU-8932f937", "MIG-1"]),
    ],
)
def test_gpus_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus


def test_gpus_counted_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    listed = "GPU 0: A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0:\nGPU 1: A100 (UUID: GPU-2)"
    program.write_text(f"#!/bin/sh\necho '{listed}'\n")
    program.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
