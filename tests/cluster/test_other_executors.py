"""What can be shown of profiles without the scheduler that they are for."""

from pathlib import Path

import pytest

from tests.pipeline.conftest import Project

pytestmark = pytest.mark.slow


def test_pipeline_with_bash_as_the_scheduler(project: Project) -> None:
    project.run("--workflow-profile", "profiles/cluster-generic")
    assert (project.folder / "results/tiny/report.html").is_file()
    assert project.planned() == {}


def pretend(folder: Path, name: str, answer: str, status: int = 0) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    (folder / name).chmod(0o755)


def test_a_slurm_that_tells_nothing_of_ended_jobs_is_refused(project: Project, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    pretend(programs, "scontrol", "MinJobAge               = 2 sec")
    pretend(programs, "sacct", "Slurm accounting storage is disabled", status=1)
    pretend(programs, "sbatch", "not to be called", status=1)
    result = project.snakemake("--workflow-profile", "profiles/slurm", PATH=f"{programs}:/usr/bin:/bin")
    assert result.returncode == 1
    assert "error: Slurm keeps no accounts here" in result.stderr
    assert "not to be called" not in result.stderr


def test_gpus_of_this_machine_limit_the_jobs_on_it_alone(project: Project) -> None:
    """Two GPUs, and a config that takes them where they are."""
    config = project.config()
    config["execution"] |= {"device": "auto", "processes": 2}
    project.write_config(config)
    target = "checkpoints/finetuned/tiny/spam/seed-1/model.safetensors"

    def asked(*arguments: str, gpus: str) -> str:
        result = project.snakemake("--dry-run", *arguments, "--", target, CUDA_VISIBLE_DEVICES=gpus)
        assert result.returncode == 0, result.stderr
        job = (result.stdout + result.stderr).split("rule finetune:")[1]
        return job.split(" gpu=")[1].split(",")[0].split()[0]

    assert asked(gpus="0,1,2") == "2"
    assert asked(gpus="0") == "1"
    assert asked(gpus="") == "0"
    assert asked("--workflow-profile", "profiles/slurm", gpus="") == "2"
    assert asked("--profile", "profiles/slurm", gpus="0") == "2"
