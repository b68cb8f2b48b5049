"""A fine-tuning is killed at any moment, run again, and leaves the bytes that it would have left undisturbed."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptsmith.config.architecture import Architecture
from gptsmith.config.datasets import ClassificationDataset
from gptsmith.data.prepared import SCHEMAS
from gptsmith.files import read_json, sha256_of, write_json
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset
from gptsmith.training.pretraining import write_random_model

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "scripts" / "finetune.py"
DATASET = ClassificationDataset(task="classification", sources=[{"path": "messages.csv"}], format={"type": "csv"})
# Large enough that a state takes a while to be written.
SHAPE = Architecture(context_length=32, d_model=192, n_layers=3, n_heads=4)
RUN = {
    "dataset": "messages",
    "model": "base",
    "training": {"epochs": 4, "batch_size": 4, "evaluations": 4, "dropout": 0.1},
}
FILES = ["model.safetensors", "config.json", "vocab.json", "merges.txt"]


def heed_ctrl_c() -> None:
    """A shell in the background ignores it, and what that starts does so as well."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Trial:
    """A fine-tuning with a folder of its own for what it writes."""

    inputs: Path
    folder: Path

    def start(self) -> subprocess.Popen[str]:
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
        command = [sys.executable, SCRIPT, *(f"--{key}={value}" for key, value in options.items())]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, text=True, preexec_fn=heed_ctrl_c, **pipes)

    def finish(self) -> str:
        """Run to the end and return what was said."""
        process = self.start()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    def written(self) -> list[str]:
        assert {path.name for path in (self.folder / "checkpoint").iterdir()} >= set(FILES)
        return [sha256_of(self.folder / "checkpoint" / file) for file in FILES]

    def states(self) -> list[Path]:
        return sorted((self.folder / "state").glob("*/*.safetensors"))


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
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    trial = Trial(inputs, tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    trial.finish()
    assert not (trial.folder / "state").exists() or not list((trial.folder / "state").iterdir())
    return Undisturbed(trial.written(), time.monotonic() - started)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.0005)


Moment = Callable[[Trial, subprocess.Popen[str]], None]


def after(seconds: float) -> Moment:
    return lambda _, process: wait_for(partial(past, time.monotonic() + seconds), process)


def past(moment: float) -> bool:
    return time.monotonic() >= moment


def saving(trial: Trial, process: subprocess.Popen[str]) -> None:
    """The second state, so that there is one to go on from."""
    wait_for(lambda: bool(trial.states()), process)
    wait_for(lambda: any((trial.folder / "state").glob("*/*.partial")), process)


def writing_the_checkpoint(trial: Trial, process: subprocess.Popen[str]) -> None:
    wait_for(lambda: any((trial.folder / "checkpoint").glob(".*.partial")), process)


@dataclass(frozen=True)
class Outcome:
    """Of a training that was killed, and then run again."""

    killed: bool
    """It had not ended yet."""
    resumed_after: list[int]
    written: list[str]
    left: list[Path]


def outcome(trial: Trial, moment: Moment) -> Outcome:
    trial.folder.mkdir()
    process = trial.start()
    moment(trial, process)
    killed = process.poll() is None
    process.kill()
    process.communicate()
    trial.finish()
    left = list(trial.folder.glob("state/*"))
    provenance = read_json(trial.folder / "provenance.json")
    return Outcome(killed, provenance["resumed_after_steps"], trial.written(), left)


N_RANDOM = 14
TIMES = {"at random": N_RANDOM, "saving": 3, "at the end": 3}
MOMENTS = [f"{kind} {n}" for kind, times in TIMES.items() for n in range(times)]


@pytest.fixture(scope="module")
def outcomes(inputs: Path, undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Two at a time, on a core each, so they take longer than the one that was undisturbed."""
    folder, chosen = tmp_path_factory.mktemp("trials"), random.Random(1)

    def moment_of(name: str) -> Moment:
        kind, _, number = name.rpartition(" ")
        if kind == "at random":
            return after((int(number) + chosen.random()) / N_RANDOM * 1.2 * undisturbed.seconds)
        return saving if kind == "saving" else writing_the_checkpoint

    with ThreadPoolExecutor(2) as pool:
        trials = [pool.submit(outcome, Trial(inputs, folder / name), moment_of(name)) for name in MOMENTS]
        return {name: trial.result() for name, trial in zip(MOMENTS, trials, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_leaves_the_same_bytes(
    moment: str, outcomes: dict[str, Outcome], undisturbed: Undisturbed
) -> None:
    assert outcomes[moment].written == undisturbed.written
    assert outcomes[moment].left == []


@pytest.mark.slow
def test_what_was_saved_was_used(outcomes: dict[str, Outcome]) -> None:
    """Else the test above would show nothing."""
    resumed = [name for name, found in outcomes.items() if found.resumed_after]
    assert sum(found.killed for found in outcomes.values()) >= 14
    assert {name.rpartition(" ")[0] for name in resumed} == {"at random", "saving", "at the end"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_saves_and_says_so(
    number: signal.Signals, inputs: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial = Trial(inputs, tmp_path)
    process = trial.start()
    wait_for(lambda: bool(trial.states()), process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    *_, stopped, cause = said.splitlines()
    step = re.fullmatch(r"spam, seed 1: stopped after step (\d+), saved; the next run goes on there", stopped)
    assert step is not None, said
    assert cause == "error: interrupted"
    assert not trial.folder.joinpath("checkpoint").exists()
    assert f"spam, seed 1: goes on after step {step[1]} of 120\n" in trial.finish()
    assert trial.written() == undisturbed.written
    assert read_json(trial.folder / "provenance.json")["resumed_after_steps"] == [int(step[1])]


@pytest.mark.slow
def test_two_processes_with_one_state_do_not_spoil_each_other(
    inputs: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    first = Trial(inputs, tmp_path)
    process = first.start()
    wait_for(lambda: bool(first.states()), process)
    process.kill()
    process.communicate()
    second = Trial(inputs, tmp_path / "second")
    second.folder.mkdir()
    second.folder.joinpath("state").symlink_to(first.folder / "state")
    with ThreadPoolExecutor(2) as pool:
        for said in pool.map(Trial.finish, (first, second)):
            assert "goes on after step" in said
    assert first.written() == second.written() == undisturbed.written
