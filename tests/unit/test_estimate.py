"""What `gptsmith check` says before a run, against what the run then counts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptsmith.config.load import Config, load_config
from gptsmith.errors import UserError
from gptsmith.inspection.estimate import cut_off, disk_bytes, run_work, shape_of
from gptsmith.inspection.requirements import describe, duration, requirements_of
from gptsmith.inspection.samples import Lengths
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.training.examples import ClassificationExamples, LanguageExamples, batches_by_length
from gptsmith.training.speed import Work as CountedWork
from gptsmith.training.trainable import select_trainable


def config_of(task: str, **run: Any) -> Config:
    dataset: dict[str, Any] = {"task": task, "sources": [{"path": "rows.jsonl"}], "format": {"type": "jsonl"}}
    if task == "instruction":
        dataset["prompt"] = "compact"
    return load_config(
        {
            "name": "own",
            "datasets": {"own": dataset | {"split": {"train": 1, "validation": 0, "test": 0}}},
            "tokenizers": {"bpe": {"train_on": ["own"], "vocab_size": 280}},
            "models": {
                "small": {
                    "tokenizer": "bpe",
                    "architecture": {"context_length": 24, "d_model": 16, "n_layers": 3, "n_heads": 2},
                    "pretrain": {"datasets": ["own"]},
                }
            },
            "runs": {"mine": {"dataset": "own", "model": "small", "training": {"epochs": 2}, **run}},
        }
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", ["classification", "instruction"])
def test_operations_are_those_that_a_training_counts(task: str) -> None:
    config, rng = config_of(task), np.random.default_rng(0)
    shape = shape_of(config, "small")
    assert shape is not None
    assert shape.vocab_size == 280
    prompts, texts = rng.integers(3, 8, 40), rng.integers(3, 12, 40)
    lengths = Lengths(prompts if task == "instruction" else np.zeros_like(prompts), texts, rows=40)
    generator = torch.Generator().manual_seed(0)
    examples: ClassificationExamples | LanguageExamples
    if task == "classification":
        model: Any = new_classifier(shape, 2, generator)
        ids = [rng.integers(0, 200, n).astype(np.int32) for n in lengths.whole]
        examples = ClassificationExamples(ids, np.zeros(40, dtype=np.int64), padding=0)
    else:
        model = new_language_model(shape, generator)
        ids = [rng.integers(0, 200, n + 1).astype(np.int32) for n in lengths.whole]
        examples = LanguageExamples(ids, prompts, padding=0)
    select_trainable(model, "all", generator)
    counted = CountedWork(model)
    for _ in range(2):
        for rows in batches_by_length(examples.lengths, 8):
            counted.add(examples.batch(rows), learned_from=True)
    training, *_ = run_work(config, "mine", shape, lengths)
    assert training.flops == pytest.approx(counted.flops, rel=0.1)
    assert training.steps == 10


@pytest.mark.parametrize(("trainable", "share"), [({"last_blocks": 1}, 0.45), ("head", 0.17), ("all", 1)])
def test_frozen_blocks_are_paid_for_once(trainable: Any, share: float) -> None:
    config, lengths = config_of("classification", trainable=trainable), Lengths(np.zeros(9), np.full(9, 10), 9)
    shape = shape_of(config, "small")
    assert shape is not None
    everything = run_work(config_of("classification"), "mine", shape, lengths)[0].flops
    assert run_work(config, "mine", shape, lengths)[0].flops == pytest.approx(share * everything, rel=0.02)


def test_what_is_cut_off() -> None:
    config = config_of("classification", max_length=10)
    shape = shape_of(config, "small")
    assert shape is not None
    cut = cut_off(config.runs["mine"], shape, Lengths(np.zeros(4, int), np.array([5, 10, 12, 18]), 4))
    assert (cut.texts, cut.of_texts, cut.tokens, cut.of_tokens, cut.limit) == (2, 4, 10, 45, 10)


def test_more_rows_and_more_seeds_take_more(folder: Path) -> None:
    rows = [json.dumps({"text": f"some words and number {n}", "label": "ab"[n % 2]}) for n in range(300)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    config = config_of("classification", seeds=[1, 2, 3])
    found = requirements_of(config)
    assert [(job.name, count) for job, count in found.work] == [
        ("pretrain small", 1),
        ("finetune mine", 3),
        ("predict mine", 3),
    ]
    assert found.lengths["bpe"]["own"].rows == 300
    shape = shape_of(config, "small")
    assert shape is not None
    lines = "\n".join(describe(config, found, {shape: 1e9}, "cpu", 2, 1e12, 1e3))
    assert "mine: 300 rows of" in lines
    assert "finetune mine: " in lines
    assert "disk: about 0.0 GB; 0.0 GB are free - not enough" in lines
    slow, quick = ([job.seconds(rate) for job, _ in found.work[:2]] for rate in (1e8, 1e10))
    assert all(one > other for one, other in zip(slow, quick, strict=True))


def test_checkpoints_of_all_seeds_count(folder: Path) -> None:
    one, three = (config_of("classification", seeds=list(range(n))) for n in (1, 3))
    shape = shape_of(one, "small")
    assert shape is not None
    assert disk_bytes(three, {}, {}) - disk_bytes(one, {}, {}) == 2 * 4 * shape.n_parameters


def test_an_instruction_that_does_not_fit_is_named(folder: Path) -> None:
    rows = [{"instruction": f"say {n}", "input": "", "output": f"{n} " * (60 if n == 50 else 1)} for n in range(100)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config_of("instruction")
    found = requirements_of(config)
    lines = "\n".join(describe(config, found, dict.fromkeys(found.products, 1e9), "cpu", 2, 1e12, 1e12))
    assert "1 rows looked at do not fit the context of 24 tokens" in lines


def test_data_that_is_not_there_is_said_to_be_unknown(folder: Path) -> None:
    (folder / "rows.jsonl").write_text("")
    raw = config_of("classification").model_dump(mode="json", exclude_defaults=True)
    raw["datasets"]["own"]["sources"] = [{"url": "https://example.org/rows.jsonl", "sha256": "0" * 64}]
    config = load_config(raw)
    found = requirements_of(config)
    assert found.unknown == ["dataset own"]
    assert "time and memory: not known yet" in describe(config, found, {}, "cpu", 2, 1e12, 1e12)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"datasets.own.sources: no such file: rows.jsonl"):
        requirements_of(config_of("classification"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 seconds"), (80, "80 seconds"), (100, "1.7 minutes"), (3e4, "8.3 hours"), (1e6, "12 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
