"""Every script of the workflow on a disk that is full, and in folders that it may not write into."""

import ctypes
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.files import sha256_of
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.files import write_tokenizer
from tests.forked import start_script
from tests.gguf_files import tiny_llama, write_gguf
from tests.judge_server import judge_server

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SHAPE = {"context_length": 64, "d_model": 16, "n_layers": 2, "n_heads": 2}
REVISION = "0" * 40
DISK_BYTES = 32 << 20


@dataclass(frozen=True)
class Job:
    """One job of a run, by its script."""

    arguments: list[str]
    outputs: list[str]


@dataclass(frozen=True)
class Disk:
    """A project all of whose jobs are done, on a disk of its own."""

    folder: Path
    jobs: dict[str, Job]

    def fill(self, free: int) -> None:
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass
            filler.truncate(max(0, filler.tell() - free))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): sha256_of(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def config_of_every_stage(folder: Path, judge: str) -> dict[str, Any]:
    """Every script has a job in it, from the download of a zip to the report. `judge`: its URL."""
    mirror = folder / "mirror"
    (mirror / "data.example").mkdir(parents=True)
    with zipfile.ZipFile(mirror / "data.example" / "messages.zip", "w") as archive:
        archive.write(folder / "messages.csv", "messages.csv")
    tokenizer = train(["free phone call"], 260)
    write_tokenizer(tokenizer, folder / "published")
    architecture = Architecture(vocab_size=260, **SHAPE)
    save_language_model(new_language_model(architecture, torch.Generator().manual_seed(1)), folder / "own", 259)
    hub = mirror / "huggingface.co" / "some" / "model" / "resolve" / REVISION
    hub.mkdir(parents=True)
    shutil.copy(folder / "own" / "model.safetensors", hub)
    write_gguf(folder / "model.gguf", tiny_llama())
    training = {"epochs": 1, "batch_size": 32, "evaluations": 1}
    url = {
        "url": "https://data.example/messages.zip",
        "member": "messages.csv",
        "sha256": sha256_of(folder / "messages.csv"),
    }
    hugging_face = {"repo": "some/model", "revision": REVISION, "sha256": sha256_of(hub / "model.safetensors")}
    return {
        "name": "every",
        "datasets": {
            "messages": {"task": "classification", "sources": [url], "format": {"type": "csv"}},
            "questions": {
                "task": "instruction",
                "sources": [{"path": "questions.jsonl"}],
                "format": {"type": "jsonl"},
                "prompt": "compact",
                "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
                "shards": 2,
            },
        },
        "tokenizers": {
            "trained": {"train_on": ["questions"], "vocab_size": 300},
            "fetched": {
                "vocab": [{"path": "published/vocab.json"}],
                "merges": [{"path": "published/merges.txt"}],
            },
            "of-file": {"gguf": "of-file"},
        },
        "models": {
            "pretrained": {
                "tokenizer": "trained",
                "architecture": SHAPE,
                "pretrain": {"datasets": ["questions"], "training": training},
            },
            "hub": {"tokenizer": "fetched", "architecture": SHAPE | {"vocab_size": 260}, "huggingface": hugging_face},
            "imported": {"tokenizer": "fetched", "path": "own"},
            "of-file": {"tokenizer": "of-file", "gguf": [{"path": "model.gguf"}]},
            "untrained": {"tokenizer": "fetched", "architecture": SHAPE, "random": True},
        },
        "runs": {
            "spam": {
                "dataset": "messages",
                "model": "hub",
                "trainable": "head",
                "seeds": [1],
                "training": training,
                "learning_curve": [0.5],
            },
            "again": {"dataset": "messages", "model": "hub", "trainable": "head", "seeds": [2], "training": training},
            "assistant": {
                "dataset": "questions",
                "model": "pretrained",
                "seeds": [1],
                "training": training,
                "generation": {"max_new_tokens": 4},
                "grid": {"training.learning_rate": [0.001, 0.01]},
            },
        },
        "ablation": {"model": "pretrained", "seeds": [1], "variants": {"rms-norm": {"norm": "rms_norm"}}},
        "evaluation": {"bootstrap_samples": 50, "judge": {"url": judge, "model": "llama3"}},
        "execution": {"threads": 1, "mirror": "mirror"},
    }


def planned_jobs(project: "Project") -> list[Job]:
    """What a run of everything would do, in an order that can be followed."""
    models = [f"checkpoints/base/{model}/config.json" for model in ("imported", "untrained", "of-file")]
    shown = project.snakemake("--dry-run", "--printshellcmds", "--forceall", "all", *models)
    assert shown.returncode == 0, shown.stderr
    jobs = []
    for block in shown.stdout.split("\n\n"):
        if (command := re.search(r"^Shell command: python (.*) 2>&1 \| tee", block, re.MULTILINE)) is None:
            continue
        script, *arguments = shlex.split(command[1])
        outputs = re.search(r"^    output: (.*)$", block, re.MULTILINE)
        assert outputs is not None
        jobs.append(Job([str(SCRIPTS / Path(script).name), *arguments], outputs[1].split(", ")))
    return jobs


def obey_permissions() -> None:
    """Root writes wherever it likes by one of its capabilities, CAP_DAC_OVERRIDE: give that one up."""
    libc = ctypes.CDLL(None)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    data[0] &= ~(1 << 1)
    assert libc.capset(header, data) == 0


def run_apart(
    job: Job, folder: Path, printed: Path, before: Callable[[], None] | None = None
) -> tuple[int | None, str]:
    """Exit status and words of a job."""
    process = start_script(job.arguments, folder, printed, before)
    process.join()
    return process.exitcode, printed.read_text()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory, new_project: Callable[[Path], "Project"]) -> Iterator[Disk]:
    place = tmp_path_factory.mktemp("disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        project = new_project(place / "my project")
        with judge_server() as judge:
            project.write_config(config_of_every_stage(project.folder, judge.url))
            jobs, printed = planned_jobs(project), place.with_name("printed")
            for job in jobs:
                status, said = run_apart(job, project.folder, printed)
                assert status == 0, said
        yield Disk(project.folder, {Path(job.arguments[0]).stem: job for job in jobs})
    finally:
        subprocess.run(["umount", place], check=True)


def stands_whole(path: Path) -> bool:
    """Whether a file can be read to its end."""
    match path.suffix:
        case ".parquet":
            pq.read_table(path)
        case ".json":
            json.loads(path.read_text())
        case ".jsonl":
            [json.loads(line) for line in path.read_text().splitlines()]
        case ".safetensors":
            with safe_open(path, framework="pt") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    return True


def is_about(named: str, job: Job) -> bool:
    """An output or a file in one, or what is kept beside it, or beside its folder, while it is made."""
    places = {place for output in map(Path, job.outputs) for place in (output, output.parent)}
    beside = tuple(str(place.parent / f".{place.name}.") for place in places)
    return is_made_by(named, job) or named.startswith(beside)


def is_made_by(named: str, job: Job) -> bool:
    return any(named == output or named.startswith(f"{output}/") for output in job.outputs)


# Those that record versions make no files of the pipeline (test_versions.py).
ALL_SCRIPTS = sorted({path.stem for path in SCRIPTS.glob("*.py")} - {"track", "push", "restore"})


@pytest.fixture(params=ALL_SCRIPTS)
def job(request: pytest.FixtureRequest, disk: Disk, tmp_path: Path) -> Iterator[Job]:
    """A job whose outputs are not there; afterwards they are as they were."""
    job = disk.jobs[request.param]
    for number, output in enumerate(job.outputs):
        shutil.move(disk.folder / output, tmp_path / str(number))
    yield job
    (disk.folder / "filler").unlink(missing_ok=True)
    for number, output in enumerate(job.outputs):
        shutil.move(tmp_path / str(number), disk.folder / output)


def test_every_script_has_a_job(disk: Disk) -> None:
    assert sorted(disk.jobs) == ALL_SCRIPTS


def test_a_disk_that_becomes_full_in_mid_writing(disk: Disk, job: Job, tmp_path: Path) -> None:
    sizes = [(tmp_path / str(number)).stat().st_size for number in range(len(job.outputs))]
    before = disk.files()
    disk.fill(free=sum(sizes) // 2)
    status, said = run_apart(job, disk.folder, tmp_path / "printed")
    assert status == 1, said
    assert "Traceback" not in said
    named = re.search(r"^error: no space left on the disk: (.*): free some, then run again$", said, re.MULTILINE)
    assert named is not None, said
    assert is_about(named[1], job), said
    (disk.folder / "filler").unlink()
    after = disk.files()
    assert {name: sum256 for name, sum256 in after.items() if name in before} == before
    new = after.keys() - before.keys()
    assert all(is_made_by(name, job) for name in new)
    assert all(stands_whole(disk.folder / name) for name in new)


def test_folders_that_may_not_be_written_into(disk: Disk, job: Job, tmp_path: Path) -> None:
    before = disk.files()
    folders = [disk.folder, *(path for path in disk.folder.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        rights = obey_permissions if os.geteuid() == 0 else None
        status, said = run_apart(job, disk.folder, tmp_path / "printed", rights)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert status == 1, said
    assert "Traceback" not in said
    named = re.search(r"^error: not allowed to read or write: (.*): check the permissions$", said, re.MULTILINE)
    assert named is not None, said
    assert is_about(named[1].removeprefix(f"{disk.folder}/"), job), said
    assert disk.files() == before
