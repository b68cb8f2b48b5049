"""The real Snakefile, scripts and package in a folder of their own, with a run that takes seconds."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "profiles", "src")


@dataclass(frozen=True)
class Project:
    """A copy of the project; edits in it do not touch the real one."""

    folder: Path

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the folder, on the copy of the package."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        variables = os.environ | {"PYTHONPATH": str(self.folder / "src"), "NO_COLOR": "1"} | environment
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)

    def run(self, *arguments: str) -> None:
        """Run Snakemake and fail the test with its output if it fails."""
        result = self.snakemake(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule -> number of jobs that a run would carry out now, `all` left out."""
        result = self.snakemake("--dry-run", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        table = re.search(
            r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)*?)total", result.stdout + result.stderr, re.MULTILINE
        )
        jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
        return {rule: int(count) for rule, count in jobs.items() if rule != "all"}

    def write_config(self, config: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def config(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "config.yaml").read_text())


def make_project(folder: Path) -> Project:
    """Copy the project to `folder` and give it tiny data and a tiny config."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / part)
    write_messages(folder / "messages.csv")
    write_questions(folder / "questions.jsonl")
    project = Project(folder)
    project.write_config(tiny_config())
    return project


def write_messages(path: Path) -> None:
    """120 different synthetic messages, a quarter of them spam."""
    goods = ("phone", "holiday", "ring tone", "voucher", "ticket", "watch")
    rows = [f"spam,win a free {goods[n % 6]} now call 0800{n:03}" for n in range(30)]
    rows += [f"ham,see you at {n % 12} for the {goods[n % 6]} talk number {n}" for n in range(90)]
    path.write_text("label,text\n" + "\n".join(rows) + "\n")


def write_questions(path: Path) -> None:
    """60 different synthetic questions in two categories."""
    lines = [
        f'{{"instruction": "Say the number after this.", "input": "{n}", "output": "{n + 1}", "category": "after"}}'
        for n in range(30)
    ]
    lines += [
        f'{{"instruction": "Repeat the word.", "input": "word{n}", "output": "word{n}", "category": "repeat"}}'
        for n in range(30)
    ]
    path.write_text("\n".join(lines) + "\n")


def tiny_config() -> dict[str, Any]:
    """Both tasks on a model of a few thousand parameters, one step or two each."""
    training = {"epochs": 1, "batch_size": 32, "evaluations": 1}
    return {
        "name": "tiny",
        "datasets": {
            "messages": {
                "task": "classification",
                "sources": [{"path": "messages.csv"}],
                "format": {"type": "csv"},
                "positive_label": "spam",
                "near_duplicates": "report",
            },
            "questions": {
                "task": "instruction",
                "sources": [{"path": "questions.jsonl"}],
                "format": {"type": "jsonl"},
                "category": "category",
                "prompt": "compact",
                "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
            },
        },
        "tokenizers": {"tiny-bpe": {"train_on": ["messages", "questions"], "vocab_size": 300}},
        "models": {
            "tiny": {
                "tokenizer": "tiny-bpe",
                "architecture": {"context_length": 64, "d_model": 16, "n_layers": 2, "n_heads": 2},
                "pretrain": {"datasets": ["messages", "questions"], "training": training},
            },
        },
        "runs": {
            "spam": {"dataset": "messages", "model": "tiny", "seeds": [1], "training": training},
            "assistant": {
                "dataset": "questions",
                "model": "tiny",
                "seeds": [1],
                "training": training,
                "generation": {"max_new_tokens": 4},
            },
        },
        "evaluation": {"bootstrap_samples": 50},
        "execution": {"threads": 1},
    }


@pytest.fixture(scope="session")
def new_project() -> Callable[[Path], Project]:
    """For projects that several tests share."""
    return make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that nothing has run in yet. Its path has a space."""
    return make_project(tmp_path / "my project")


@pytest.fixture(scope="session")
def pristine_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Folder of a project whose run is done, which all workers of pytest-xdist copy and none changes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "pristine" / "my project"
    with FileLock(f"{folder.parent}.lock"):
        if not folder.exists():
            unfinished = make_project(folder.with_name("unfinished"))
            unfinished.run()
            unfinished.folder.rename(folder)
    return folder


@pytest.fixture(scope="session")
def finished_project(pristine_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose run is done, shared by the tests: each leaves it as it found it."""
    return copy_of(pristine_project, tmp_path_factory.mktemp("pipeline") / "my project")


@pytest.fixture
def copied_project(pristine_project: Path, tmp_path: Path) -> Project:
    """A copy of the finished project in another place, to change."""
    return copy_of(pristine_project, tmp_path / "a copy")


def copy_of(pristine: Path, folder: Path) -> Project:
    return Project(Path(shutil.copytree(pristine, folder)))
