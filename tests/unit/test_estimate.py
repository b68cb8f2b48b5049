"""What `gptsmith check` says before a run, against what the run then counts."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.datasets import Split
from gptsmith.config.load import Config, load_config, settings_hash
from gptsmith.errors import UserError
from gptsmith.inspection import samples
from gptsmith.inspection.estimate import (
    REACHED,
    START_SECONDS,
    STEP_SECONDS,
    cut_off,
    disk_bytes,
    run_work,
    shape_of,
    trial_work,
)
from gptsmith.inspection.requirements import describe, duration, requirements_of
from gptsmith.inspection.samples import Lengths
from gptsmith.inspection.stages import Job, Machine, describe_estimate, estimate_json, estimate_stages
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


def test_a_test_split_of_its_own_counts_beside_the_rows() -> None:
    config, texts = config_of("classification"), np.full(40, 8)
    config.datasets["own"] = config.datasets["own"].model_copy(update={"split": Split()})
    shape = shape_of(config, "small")
    assert shape is not None
    [learning, predicting], [learning_more, predicting_more] = (
        run_work(config, "mine", shape, Lengths(np.zeros_like(texts), texts, 40, test_rows=rows)) for rows in (None, 80)
    )
    # 7 : 1 of all rows instead of 7 : 1 : 2, and twice as many to test on.
    assert learning_more.steps / learning.steps == pytest.approx((7 / 8) / 0.7)
    assert predicting_more.flops / predicting.flops == pytest.approx((1 / 8 + 2) / 0.3)
    config.datasets["own"] = config.datasets["own"].model_copy(update={"sample": 0.25})
    [fewer, _] = run_work(config, "mine", shape, Lengths(np.zeros_like(texts), texts, 40))
    assert fewer.flops == pytest.approx(learning.flops / 4)


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
    training = run_work(config, "mine", shape, lengths)[0]
    assert training.flops == pytest.approx(counted.flops, rel=0.1)
    assert training.steps == 10


@pytest.mark.parametrize(("trainable", "share"), [({"last_blocks": 1}, 0.45), ("head", 0.17), ("all", 1)])
def test_frozen_blocks_are_paid_for_once(trainable: Any, share: float) -> None:
    config, lengths = config_of("classification", trainable=trainable), Lengths(np.zeros(9), np.full(9, 10), 9)
    shape = shape_of(config, "small")
    assert shape is not None
    everything = run_work(config_of("classification"), "mine", shape, lengths)[0].flops
    jobs = [job for job in run_work(config, "mine", shape, lengths) if job.rule != "predict"]
    assert sum(job.flops for job in jobs) == pytest.approx(share * everything, rel=0.02)
    stored = [] if trainable == "all" else ["train", "validation", "test"]
    assert [job.what.rpartition("/")[2] for job in jobs] == [*stored, "mine"]


def test_trials_are_counted() -> None:
    shape, lengths = shape_of(config_of("classification"), "small"), Lengths(np.zeros(9), np.full(9, 10), 9)
    assert shape is not None
    whole = run_work(config_of("classification"), "mine", shape, lengths)[0].flops
    (half,) = trial_work(config_of("classification", learning_curve=[0.5]), "mine", shape, lengths)
    assert (half.name, half.flops) == ("finetune mine/learning-curve/share-0.5", whole / 2)
    raw = config_of("classification").model_dump(mode="json", exclude_defaults=True)
    raw["datasets"]["own"]["split"] = {"train": 0.8, "validation": 0.2, "test": 0}
    raw["runs"]["mine"]["grid"] = {"training.epochs": [1, 2], "max_length": [5, 10]}
    jobs = {job.name: job.flops for job in trial_work(load_config(raw), "mine", shape, lengths)}
    assert len(jobs) == 4
    cheapest, dearest = "finetune mine/grid/epochs-1,max_length-5", "finetune mine/grid/epochs-2,max_length-10"
    assert jobs[dearest] == max(jobs.values()) > 2 * jobs[cheapest]


def test_combinations_that_freeze_the_same_store_it_once() -> None:
    raw = config_of("classification").model_dump(mode="json", exclude_defaults=True)
    raw["datasets"]["own"]["split"] = {"train": 0.8, "validation": 0.2, "test": 0}
    raw["runs"]["mine"]["grid"] = {"trainable": ["head", "all"], "training.epochs": [1, 2]}
    config, lengths = load_config(raw), Lengths(np.zeros(9), np.full(9, 10), 9)
    shape = shape_of(config, "small")
    assert shape is not None
    jobs = trial_work(config, "mine", shape, lengths)
    folder = "small/own/last-0/length-whole"
    assert [job.what for job in jobs if job.rule == "trunk_features"] == [f"{folder}/train", f"{folder}/validation"]
    assert sum(job.rule == "finetune" for job in jobs) == 4
    raw["runs"]["mine"]["grid"] = {"trainable": ["all"], "training.epochs": [1, 2, 3, 4]}
    features = disk_bytes(config, {}, {"bpe": {"own": lengths}})[0]
    features -= disk_bytes(load_config(raw), {}, {"bpe": {"own": lengths}})[0]
    assert features == pytest.approx(4 * 16 * 90)


def test_a_stage_that_nobody_knows_is_named_and_one_with_a_model_has_its_weights(folder: Path) -> None:
    rows = [{"instruction": f"say {n}", "input": "", "output": f"{n}"} for n in range(100)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config_of("instruction", learning_curve=[0.5])
    found = requirements_of(config)
    shape = found.shapes["small"]
    planned = [Job("judge", "own/mine/before"), Job("judge", "own/mine/seed-123")]
    planned += [Job("score_trial", "own/mine/learning-curve/share-0.5/seed-123")]
    machine = Machine("cpu", 2, {shape: 1e9})
    *_, scoring = stages = estimate_stages(config, found, planned, machine)
    assert scoring.memory_mb == pytest.approx(400 + 2 * 4e-6 * shape.n_parameters)
    estimate = estimate_json(config, found, stages, machine)
    assert estimate["unknown"] == ["judge"]
    assert "  not known: judge 2" in describe_estimate(stages, estimate, found, 1e12, 1e12)


def test_rows_of_a_long_file_are_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_BYTES", 1000)
    config = config_of("classification")
    for rows, words in ((40, "mine: 40 rows of "), (20_000, "mine: about 2")):
        texts = (f"some words, then more of them, and number {n}" for n in range(rows))
        lines = [json.dumps({"text": text * 3, "label": "a"}) for text in texts]
        (folder / "rows.jsonl").write_text("\n".join(lines))
        assert next(describe(config, requirements_of(config))).startswith(words)


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
    assert "mine: 300 rows of" in "\n".join(describe(config, found))
    planned = [Job("prepare", "own"), Job("pretrain", "small"), Job("report", "own")]
    planned += [Job("finetune", f"own/mine/seed-{seed}") for seed in (1, 2, 3)]
    machine = Machine("cpu", 2, {shape: 1e9})
    stages = estimate_stages(config, found, planned, machine)
    estimate = estimate_json(config, found, stages, machine)
    assert [(stage["rule"], stage["what"]) for stage in estimate["stages"]] == [(job.rule, job.what) for job in planned]
    seconds = [stage["seconds"] for stage in estimate["stages"]]
    assert sum(seconds) / 2 <= estimate["total"]["seconds"] <= sum(seconds) + 3
    lines = "\n".join(describe_estimate(stages, estimate, found, 1e12, 1e3))
    assert re.search(r"^  finetune own/mine: \d+ seconds, 3 times$", lines, re.MULTILINE)
    assert re.search(r"^disk: about 0 MB, while it trains 1 MB; 0 MB are free - not enough$", lines, re.MULTILINE)
    slow, quick = ([job.seconds(rate) for job, _ in found.work[:2]] for rate in (1e8, 1e10))
    assert all(one > other for one, other in zip(slow, quick, strict=True))


def test_checkpoints_of_all_seeds_count(folder: Path) -> None:
    one, three = (config_of("classification", seeds=list(range(n))) for n in (1, 3))
    shape = shape_of(one, "small")
    assert shape is not None
    assert disk_bytes(three, {}, {})[0] - disk_bytes(one, {}, {})[0] == 2 * 4 * shape.n_parameters


def test_an_instruction_that_does_not_fit_is_named(folder: Path) -> None:
    rows = [{"instruction": f"say {n}", "input": "", "output": f"{n} " * (60 if n == 50 else 1)} for n in range(100)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config_of("instruction")
    found = requirements_of(config)
    lines = "\n".join(describe(config, found))
    assert "1 rows looked at do not fit the context of 24 tokens" in lines


def test_data_that_is_not_there_is_said_to_be_unknown(folder: Path) -> None:
    (folder / "rows.jsonl").write_text("")
    raw = config_of("classification").model_dump(mode="json", exclude_defaults=True)
    raw["datasets"]["own"]["sources"] = [{"url": "https://example.org/rows.jsonl", "sha256": "0" * 64}]
    config = load_config(raw)
    found = requirements_of(config)
    assert found.unknown == ["dataset own"]
    machine = Machine("cpu", 2, {})
    stages = estimate_stages(config, found, [Job("finetune", "own/mine/seed-1"), Job("evaluate", "own/mine")], machine)
    assert [stage.seconds is None for stage in stages] == [True, False]
    told = describe_estimate(stages, estimate_json(config, found, stages, machine), found, 1e12, 1e12)
    assert list(told) == ["time and memory: not known yet"]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"datasets.own.sources: no such file: rows.jsonl"):
        requirements_of(config_of("classification"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 seconds"), (80, "80 seconds"), (100, "1.7 minutes"), (3e4, "8.3 hours"), (1e6, "12 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_generated_rows_are_in_the_split_that_they_were_made_for() -> None:
    config = config_of("instruction")
    shape = shape_of(config, "small")
    assert shape is not None
    ones = np.ones(40, dtype=np.int64)
    plain, generated = (Lengths(ones, ones, 40, generated=rows) for rows in ({}, {"train": 10, "test": 20}))
    steps = [run_work(config, "mine", shape, lengths)[0].steps for lengths in (plain, generated)]
    assert steps[1] == pytest.approx(steps[0] * (10 + 10) / 40)


def test_what_the_report_compares_with_is_of_the_same_settings() -> None:
    config = config_of("classification")
    as_json = config.model_dump(mode="json", exclude={"execution"}, exclude_defaults=True)
    assert settings_hash(config) == settings_hash(as_json)
    assert settings_hash(as_json | {"execution": {"threads": 7}}) == settings_hash(config)
    assert settings_hash(as_json | {"seed": 7}) != settings_hash(config)


def test_the_variants_of_an_ablation_are_trainings_of_their_own(folder: Path) -> None:
    (folder / "books.txt").write_text("Some words, and then some more of them.\n" * 200)
    config = load_config(
        {
            "name": "parts",
            "datasets": {"books": {"task": "text", "sources": [{"path": "books.txt"}], "format": {"type": "text"}}},
            "tokenizers": {"bpe": {"train_on": ["books"], "vocab_size": 280}},
            "models": {
                "small": {
                    "tokenizer": "bpe",
                    "architecture": {"context_length": 16, "d_model": 16, "n_layers": 2, "n_heads": 4},
                    "pretrain": {"datasets": ["books"]},
                }
            },
            "ablation": {"model": "small", "seeds": [1, 2], "variants": {"wide": {"d_feedforward": 999}}},
        }
    )
    found = requirements_of(config)
    works = {(work.rule, work.what): (work, times) for work, times in found.work}
    assert {key: times for key, (_, times) in works.items()} == {
        ("pretrain_variant", "baseline"): 2,
        ("pretrain_variant", "wide"): 2,
        ("score_variant", "baseline"): 2,
        ("score_variant", "wide"): 2,
        ("measure_variants", "parts"): 1,
    }
    assert works["pretrain_variant", "wide"][0].flops > works["pretrain_variant", "baseline"][0].flops > 0
    scoring = [works["score_variant", name][0].flops for name in ("baseline", "wide")]
    assert 0 < scoring[0] < scoring[1] < works["pretrain_variant", "wide"][0].flops
    # Measuring ends after five minutes or so, or with three of its ten blocks.
    measuring, steps = works["measure_variants", "parts"][0], 81 * 2 * STEP_SECONDS
    rates = [measuring.flops / REACHED / whole for whole in (1, 400, 5000)]
    seconds = [measuring.seconds(rate) - START_SECONDS for rate in rates]
    assert seconds == pytest.approx([1 + steps, 300, 0.3 * (5000 + steps)])
    assert list(found.shapes) == ["small"]
    machine = Machine("cpu", 2, dict.fromkeys(found.products, 1e9))
    jobs = [Job("pretrain_variant", "parts/wide/seed-2"), Job("score_variant", "parts/wide/seed-2")]
    stages = estimate_stages(
        config, found, [*jobs, Job("measure_variants", "parts"), Job("ablation", "parts")], machine
    )
    assert all(stage.seconds for stage in stages)
    assert found.disk_bytes > 4 * 2 * sum(shape.n_parameters for shape in found.products)


def test_the_shape_of_an_imported_model_is_known_once_it_was_read(folder: Path) -> None:
    own = config_of("classification")
    models = {"small": own.models["small"].model_copy(update={"architecture": None, "pretrain": None, "path": "x"})}
    config = own.model_copy(update={"models": models})
    assert shape_of(config, "small") is None
    model = new_language_model(Architecture(vocab_size=270, d_model=12, n_layers=1, n_heads=2), torch.Generator())
    save_language_model(model, folder / "checkpoints/base/small", 269)
    assert shape_of(config, "small") == model.architecture
