"""The pipeline on a real Slurm (conftest.py), through profiles/slurm."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptsmith.files import read_json
from tests.cluster.conftest import Slurm, wait_until
from tests.pipeline.conftest import Project

pytestmark = pytest.mark.slow

CHECKPOINT = "checkpoints/finetuned/tiny/spam/seed-1/model.safetensors"


def on_cluster(project: Project, slurm: Slurm, *arguments: str) -> None:
    result = project.snakemake(*arguments, **slurm.environment)
    assert result.returncode == 0, result.stdout + result.stderr


def seen(project: Project) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in (project.folder / "seen.jsonl").read_text().splitlines()]


TWO_GPUS = ("--set-resources", "finetune:gpu=2")


def train_in_two_processes(project: Project) -> None:
    config = project.config()
    config["execution"] |= {"processes": 2, "threads": 2}
    project.write_config(config)


def assert_one_job_had_two_processes_and_two_gpus(project: Project) -> None:
    processes = seen(project)
    assert sorted(str(process["RANK"]) for process in processes) == ["0", "1", "None"]
    assert {process["CUDA_VISIBLE_DEVICES"] for process in processes} == {"0,1"}
    assert len({process["SLURM_JOB_ID"] for process in processes} - {None}) == 1


def test_whole_pipeline_and_nothing_to_do_elsewhere_afterwards(project: Project, slurm: Slurm) -> None:
    train_in_two_processes(project)
    on_cluster(project, slurm, "--workflow-profile", "profiles/slurm", "--forceall", *TWO_GPUS)
    assert (project.folder / "results/tiny/report.html").is_file()
    # prepare, train_tokenizer, tokenize, random_weights, verify_weights, baselines, finetune and predict.
    assert [*slurm.states().values()] == ["COMPLETED"] * 8
    assert_one_job_had_two_processes_and_two_gpus(project)
    # Neither the executor nor what a job asks for is a reason to rerun.
    assert project.planned() == {}
    config = project.config()
    config["execution"] |= {"processes": 1, "device": "cuda", "threads": 1}
    project.write_config(config)
    assert project.planned("--workflow-profile", "profiles/slurm") == {}
    assert project.planned("--resources", "gpu=2") == {}


def test_profile_option_does_not_lose_a_gpu_to_the_default_profile(project: Project, slurm: Slurm) -> None:
    train_in_two_processes(project)
    on_cluster(project, slurm, "--profile", "profiles/slurm", *TWO_GPUS, "--", CHECKPOINT)
    assert_one_job_had_two_processes_and_two_gpus(project)


@contextmanager
def running(project: Project, slurm: Slurm, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Snakemake on the cluster; ended with the block, if it has not ended by itself."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *arguments]
    variables = os.environ | slurm.environment | {"PYTHONPATH": str(project.folder / "src"), "NO_COLOR": "1"}
    with (
        (project.folder / "output.txt").open("w") as output,
        subprocess.Popen(command, cwd=project.folder, env=variables, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def test_requeued_and_cancelled_training_ends_in_the_same_bytes(project: Project, slurm: Slurm, tmp_path: Path) -> None:
    config = project.config()
    config["runs"]["spam"]["training"] = {"epochs": 200, "batch_size": 8}
    project.write_config(config)
    undisturbed = Project(Path(shutil.copytree(project.folder, tmp_path / "undisturbed")))
    undisturbed.run(CHECKPOINT)

    log = project.folder / "logs/finetune/tiny/spam/seed-1.log"

    def trains(times: int) -> bool:
        """Whether the training was started so many times and has come to its steps."""
        started = project.folder / "seen.jsonl"
        return started.is_file() and len(seen(project)) == times and "step" in log.read_text()

    with running(project, slurm, CHECKPOINT) as process:
        wait_until(lambda: trains(1), "the training")
        job = str(seen(project)[-1]["SLURM_JOB_ID"])
        slurm.answer("scontrol", "requeue", job)
        wait_until(lambda: slurm.states()[job] == "PENDING", "the job to be back in the queue")
        slurm.answer("scontrol", "update", f"jobid={job}", "StartTime=now")
        wait_until(lambda: trains(2), "the requeued training")
        assert seen(project)[-1]["SLURM_JOB_ID"] == job
        slurm.answer("scancel", job)
        wait_until(lambda: trains(3), "the training that was sent again")
        assert process.wait(120) == 0, (project.folder / "output.txt").read_text()
    assert seen(project)[-1]["SLURM_JOB_ID"] != job
    assert (project.folder / CHECKPOINT).read_bytes() == (undisturbed.folder / CHECKPOINT).read_bytes()
    provenance = read_json(project.folder / "results/tiny/spam/seed-1/provenance.json")
    assert len(provenance["resumed_after_steps"]) == 2
