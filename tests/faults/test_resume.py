"""A fine-tuning is killed at any moment, run again, and leaves the bytes that it would have left undisturbed."""

import json
import math
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptsmith.config.architecture import Architecture
from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.config.datasets import ClassificationDataset
from gptsmith.data.prepared import SCHEMAS
from gptsmith.files import read_json, sha256_of, write_json
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset
from gptsmith.training import state
from gptsmith.training.pretraining import write_random_model
from tests.forked import start_script

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "scripts" / "finetune.py"
DATASET = ClassificationDataset(task="classification", sources=[{"path": "messages.csv"}], format={"type": "csv"})
SHAPE = Architecture(context_length=32, d_model=64, n_layers=2, n_heads=4)
RUN = {
    "dataset": "messages",
    "model": "base",
    "training": {"epochs": 2, "batch_size": 4, "evaluations": 4, "dropout": 0.1},
}
FILES = ["model.safetensors", "config.json", *TOKENIZER_FILES]


@dataclass(frozen=True)
class Moment:
    """When a training is told or made to end: not by the clock, as the machine may be busy."""

    signal: signal.Signals
    event: str
    """Of Python (sys.addaudithook): `open` of a temporary file, which comes when it is made, when it is flushed and,
    for a state, when its checksum is taken; `os.rename` when it gets its name."""
    folder: str
    time_over: int
    """From 1."""

    def watch(self) -> None:
        """In the process that trains."""
        prepare_process()
        times = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal times
            if event == self.event and re.search(rf"/{self.folder}/.*\.partial$", str(arguments[0])):
                times += 1
                if times == self.time_over:
                    os.kill(os.getpid(), self.signal)

        sys.addaudithook(watch)


@dataclass(frozen=True)
class ProcessorTime:
    seconds: float

    def watch(self) -> None:
        prepare_process()
        # SIGPROF, which nobody heeds, ends a process as SIGKILL does.
        signal.setitimer(signal.ITIMER_PROF, self.seconds)


def prepare_process() -> None:
    # A shell in the background ignores it, and what that starts does so as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Every step, however long a state takes to be written.
    state.SHARE_OF_TIME = math.inf


@dataclass(frozen=True)
class Trial:
    """A fine-tuning with a folder of its own for what it writes."""

    inputs: Path
    folder: Path

    def start(self, before: Callable[[], None] = prepare_process) -> BaseProcess:
        options = {
            "name": "spam",
            "settings": json.dumps(RUN),
            "seed": 1,
            "threads": 1,
            "device": "cpu",
            "tokens": self.inputs / "tokens",
            "tokenizer": self.inputs / "tokenizer",
            "base": self.inputs / "base",
            "checkpoint": self.folder / "checkpoint",
            "history": self.folder / "history.parquet",
            "provenance": self.folder / "provenance.json",
            "state": self.folder / "state",
            "checkpoint-seconds": 0,
        }
        arguments = [str(SCRIPT), *(f"--{key}={value}" for key, value in options.items())]
        return start_script(arguments, self.folder, self.printed, before)

    @property
    def printed(self) -> Path:
        return self.folder / "printed"

    def finish(self, before: Callable[[], None] = prepare_process) -> str:
        """Run to the end and return what was said."""
        process = self.start(before)
        process.join(300)
        assert process.exitcode == 0, self.printed.read_text()
        return self.printed.read_text()

    def written(self) -> list[str]:
        assert {path.name for path in (self.folder / "checkpoint").iterdir()} >= set(FILES)
        return [sha256_of(self.folder / "checkpoint" / file) for file in FILES]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_tokenizer(train(["win now, see you at the word"], 270), folder / "tokenizer")
    for split, n in {"train": 120, "validation": 30, "test": 10}.items():
        rows = [
            {"id": i, "text": f"{'win' if i % 3 else 'see'} you at {i}", "label": "spam" if i % 3 else "ham"}
            for i in range(n)
        ]
        path = folder / "prepared" / f"{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS["classification"]), path)
    write_json(folder / "prepared" / "report.json", {"task": "classification", "labels": ["ham", "spam"]})
    tokenizer = load_tokenizer(folder / "tokenizer", "tokenizer")
    tokenize_dataset(folder / "prepared", DATASET, tokenizer, folder / "tokens")
    write_random_model(SHAPE, seed=1, tokenizer_folder=folder / "tokenizer", checkpoint=folder / "base")
    return folder


@dataclass(frozen=True)
class Undisturbed:
    written: list[str]
    processor_seconds: float


def note_processor_time(file: Path) -> None:
    prepare_process()
    Finalize(None, lambda: file.write_text(str(time.process_time() - started)), exitpriority=0)
    started = time.process_time()


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    trial = Trial(inputs, tmp_path_factory.mktemp("undisturbed"))
    trial.finish(partial(note_processor_time, trial.folder / "seconds"))
    assert not (trial.folder / "state").exists() or not list((trial.folder / "state").iterdir())
    return Undisturbed(trial.written(), float((trial.folder / "seconds").read_text()))


@dataclass(frozen=True)
class Outcome:
    """Of a training that was killed, and then run again."""

    killed: bool
    resumed_after: list[int]
    written: list[str]
    left: list[Path]


def outcome(trial: Trial, moment: Moment | ProcessorTime) -> Outcome:
    trial.folder.mkdir()
    process = trial.start(moment.watch)
    process.join(300)
    killed = process.exitcode in (-signal.SIGKILL, -signal.SIGPROF)
    trial.finish()
    left = list(trial.folder.glob("state/*"))
    provenance = read_json(trial.folder / "provenance.json")
    return Outcome(killed, provenance["resumed_after_steps"], trial.written(), left)


N_RANDOM = 14
# The second state, so that there is one to go on from.
EXACT = {
    "saving: made": Moment(signal.SIGKILL, "open", "state", 4),
    "saving: written": Moment(signal.SIGKILL, "open", "state", 5),
    "saving: named": Moment(signal.SIGKILL, "os.rename", "state", 2),
    "at the end: made": Moment(signal.SIGKILL, "open", "checkpoint", 1),
    "at the end: written": Moment(signal.SIGKILL, "open", "checkpoint", 2),
    "at the end: named": Moment(signal.SIGKILL, "os.rename", "checkpoint", 1),
}
AT_RANDOM = [f"at random {n}" for n in range(N_RANDOM)]


@pytest.fixture(scope="module")
def outcomes(inputs: Path, undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder, chosen = tmp_path_factory.mktemp("trials"), random.Random(1)
    moments = EXACT | {
        name: ProcessorTime((n + chosen.random()) / N_RANDOM * undisturbed.processor_seconds)
        for n, name in enumerate(AT_RANDOM)
    }
    return {name: outcome(Trial(inputs, folder / name), moment) for name, moment in moments.items()}


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*AT_RANDOM, *EXACT])
def test_killed_and_run_again_it_leaves_the_same_bytes(
    moment: str, outcomes: dict[str, Outcome], undisturbed: Undisturbed
) -> None:
    assert outcomes[moment].written == undisturbed.written
    assert outcomes[moment].left == []


@pytest.mark.slow
def test_what_was_saved_was_used(outcomes: dict[str, Outcome]) -> None:
    """Else the test above would show nothing."""
    assert all(outcomes[name].killed and outcomes[name].resumed_after for name in EXACT)
    assert sum(outcomes[name].killed for name in AT_RANDOM) >= 10
    assert sum(bool(outcomes[name].resumed_after) for name in AT_RANDOM) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_stop_it_saves_and_says_so(
    number: signal.Signals, inputs: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial = Trial(inputs, tmp_path)
    process = trial.start(Moment(number, "os.rename", "state", 2).watch)
    process.join(300)
    assert process.exitcode == 130
    said = trial.printed.read_text()
    *_, stopped, cause = said.splitlines()
    step = re.fullmatch(r"spam, seed 1: stopped after step (\d+), saved; the next run goes on there", stopped)
    assert step is not None, said
    assert cause == "error: interrupted"
    assert not trial.folder.joinpath("checkpoint").exists()
    assert f"spam, seed 1: goes on after step {step[1]} of 60\n" in trial.finish()
    assert trial.written() == undisturbed.written
    assert read_json(trial.folder / "provenance.json")["resumed_after_steps"] == [int(step[1])]


@pytest.mark.slow
def test_two_processes_with_one_state_do_not_spoil_each_other(
    inputs: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    first = Trial(inputs, tmp_path)
    process = first.start(Moment(signal.SIGKILL, "os.rename", "state", 2).watch)
    process.join(300)
    second = Trial(inputs, tmp_path / "second")
    second.folder.mkdir()
    second.folder.joinpath("state").symlink_to(first.folder / "state")
    processes = [trial.start() for trial in (first, second)]
    for trial, process in zip((first, second), processes, strict=True):
        process.join(300)
        assert process.exitcode == 0
        assert "goes on after step" in trial.printed.read_text()
    assert first.written() == second.written() == undisturbed.written
