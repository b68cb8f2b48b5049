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

from tests.cluster.conftest import Slurm, wait_until
from tests.pipeline.conftest import Project, make_project, tiny_config

pytestmark = pytest.mark.slow

# Slurm is asked every second whether a job has ended: the profile's ten would be most of these tests.
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
CHECKPOINT = "checkpoints/finetuned/tiny/spam/seed-1/model.safetensors"
TELL = """
import json, os
with open("seen.jsonl", "a") as file:
    names = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "RANK")
    print(json.dumps({name: os.environ.get(name) for name in names}), file=file)

"""


@pytest.fixture(scope="module")
def prepared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Random weights to fine-tune; all before the fine-tuning has been made on this machine."""
    project = make_project(tmp_path_factory.mktemp("cluster") / "my project")
    config = tiny_config()
    del config["runs"]["assistant"], config["datasets"]["questions"], config["models"]["tiny"]["pretrain"]
    config["models"]["tiny"]["random"] = True
    config["tokenizers"]["tiny-bpe"]["train_on"] = ["messages"]
    config["execution"] |= {"device": "cpu"}
    project.write_config(config)
    # Scripts tell where they ran.
    script = project.folder / "workflow" / "scripts" / "finetune.py"
    script.write_text(script.read_text().replace('if __name__ == "__main__":', TELL + 'if __name__ == "__main__":'))
    project.run("data/tokens/tiny-bpe/messages/test.parquet", "checkpoints/base/tiny/model.safetensors")
    return project


@pytest.fixture
def project(prepared_project: Project, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(prepared_project.folder, tmp_path / "my project")))


def on_cluster(project: Project, slurm: Slurm, *arguments: str) -> None:
    result = project.snakemake(*QUICK, *arguments, **slurm.environment)
    assert result.returncode == 0, result.stdout + result.stderr


def seen(project: Project) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in (project.folder / "seen.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("option", ["--workflow-profile", "--profile"])
def test_two_processes_of_one_job_see_two_gpus(project: Project, slurm: Slurm, option: str) -> None:
    config = project.config()
    config["execution"] |= {"processes": 2, "threads": 2}
    project.write_config(config)
    on_cluster(project, slurm, option, "profiles/slurm", "--set-resources", "finetune:gpu=2", "--", CHECKPOINT)
    processes = seen(project)
    assert sorted(str(process["RANK"]) for process in processes) == ["0", "1", "None"]
    assert {process["CUDA_VISIBLE_DEVICES"] for process in processes} == {"0,1"}
    assert len({process["SLURM_JOB_ID"] for process in processes}) == 1


def test_whole_pipeline_and_nothing_to_do_elsewhere_afterwards(project: Project, slurm: Slurm) -> None:
    before = slurm.states()
    on_cluster(project, slurm, "--workflow-profile", "profiles/slurm", "--forceall")
    assert (project.folder / "results/tiny/report.html").is_file()
    states = [state for job, state in slurm.states().items() if job not in before]
    # prepare, train_tokenizer, tokenize, random_weights, verify_weights, baselines, finetune, predict: the rest is local.
    assert states == ["COMPLETED"] * 8
    assert project.planned() == {}
    config = project.config()
    config["execution"] |= {"processes": 2, "device": "cuda", "threads": 2}
    project.write_config(config)
    assert project.planned("--workflow-profile", "profiles/slurm") == {}
    assert project.planned("--resources", "gpu=2") == {}


@contextmanager
def running(project: Project, slurm: Slurm, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Snakemake on the cluster; ended with the block, if it has not ended by itself."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *QUICK, *arguments]
    variables = os.environ | slurm.environment | {"PYTHONPATH": str(project.folder / "src"), "NO_COLOR": "1"}
    with (
        (project.folder / "output.txt").open("w") as output,
        subprocess.Popen(command, cwd=project.folder, env=variables, stdout=output, stderr=output, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def test_requeued_and_cancelled_training_ends_in_the_same_bytes(project: Project, slurm: Slurm, tmp_path: Path) -> None:
    config = project.config()
    config["runs"]["spam"]["training"] = {"epochs": 400, "batch_size": 8, "evaluations": 400}
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
