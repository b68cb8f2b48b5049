"""Roughly how much work, memory and disk the runs of a config take, before anything runs.

Operations are counted as gptsmith.model.accounting does, from a sample of the texts; a way back costs twice the way
forward. What a machine makes of them is measured by products of the model's own widths, of which trainings reach
`REACHED`: the rest of the time goes into everything that is no product.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gptsmith.checkpoint.configuration import read_architecture
from gptsmith.checkpoint.folder import CONFIG
from gptsmith.config.architecture import Architecture
from gptsmith.config.datasets import Dataset
from gptsmith.config.generation import Generation
from gptsmith.config.load import Config
from gptsmith.config.models import Pretrain
from gptsmith.config.runs import LastBlocks, LoRAOnly, Run
from gptsmith.inspection.samples import Lengths
from gptsmith.model.accounting import FLOAT32_BYTES, block_at_flops, block_flops, head_flops, weight_bytes
from gptsmith.scheduling.resources import inference_tensors_mb, training_tensors_mb

SPLITS = ("train", "validation", "test")
REACHED = 0.5
START_SECONDS = 3.5
"""Of Python and torch."""
START_MB = 400
"""Likewise."""
STEP_SECONDS = 0.004
"""Of Python and of the optimizer for a small model, a step."""
MEMORY_BYTES_PER_SECOND = 1e10
"""At which a decoding step reads the weights."""
DECODED_AT_ONCE = 64
MEASURED_STEPS = 81
"""Of each variant of an ablation, for its speed and memory (gptsmith.training.step_costs), ..."""
MEASURED_SECONDS, FEWEST_MEASURED = 300.0, 0.3
"""... or this share of them, where all would take longer than that."""
SCORED_AT_ONCE = 32
"""Windows, of a variant."""


@dataclass(frozen=True)
class Work:
    """Of one job, from its start to its end."""

    rule: str
    what: str
    """A model or a run."""
    flops: float
    steps: float
    read_bytes: float
    """Weights that decoding reads again for every token."""
    shape: Architecture
    memory_mb: int
    """At its peak, of one process."""

    @property
    def name(self) -> str:
        return f"{self.rule} {self.what}"

    def seconds(self, flops_per_second: float) -> float:
        """On a machine that multiplies matrices of the model's widths so fast."""
        computing = self.flops / (REACHED * flops_per_second)
        seconds = computing + self.steps * STEP_SECONDS + self.read_bytes / MEMORY_BYTES_PER_SECOND
        if self.rule == "measure_variants":
            seconds = min(seconds, max(FEWEST_MEASURED * seconds, MEASURED_SECONDS))
        return START_SECONDS + seconds


@dataclass(frozen=True)
class Cut:
    """What a run's `max_length` takes off its training split, counted in a sample."""

    texts: int
    of_texts: int
    tokens: int
    of_tokens: int
    limit: int


def shape_of(config: Config, model: str) -> Architecture | None:
    """With the tokenizer's vocabulary; None for a model whose folder or file tells its shape and was not read yet."""
    settings = config.models[model]
    vocab_size = config.tokenizers[settings.tokenizer].vocab_size
    if settings.architecture is None:
        base = Path("checkpoints/base", model)
        return read_architecture(base) if (base / CONFIG).is_file() else None
    if vocab_size is None:
        return settings.architecture
    return settings.architecture.model_copy(update={"vocab_size": vocab_size})


def shapes_of_variants(config: Config) -> dict[str, Architecture]:
    """Of an ablation, with the tokenizer's vocabulary."""
    if config.ablation is None or (base := shape_of(config, config.ablation.model)) is None:
        return {}
    return config.ablation.architectures(base)


def cut_off(run: Run, shape: Architecture, lengths: Lengths) -> Cut:
    limit = min(run.max_length or shape.context_length, shape.context_length)
    beyond = np.maximum(lengths.whole - limit, 0)
    return Cut(int(np.count_nonzero(beyond)), len(beyond), int(beyond.sum()), max(1, int(lengths.whole.sum())), limit)


def pretraining_work(config: Config, name: str, shape: Architecture, lengths: Mapping[str, Lengths]) -> Work:
    settings = config.models[name].pretrain
    assert settings is not None
    window = settings.window or shape.context_length
    windows = _tokens(config, settings, "train", lengths) / (settings.stride or window)
    forward = windows * _language_flops(shape, np.array([window]), window)
    training = settings.training
    return Work(
        "pretrain",
        name,
        flops=3 * training.epochs * forward + 0.1 * training.evaluations * forward,
        steps=training.epochs * windows / training.batch_size,
        read_bytes=0,
        shape=shape,
        memory_mb=START_MB + training_tensors_mb(shape, training, window),
    )


def _tokens(config: Config, plan: Pretrain, split: str, lengths: Mapping[str, Lengths]) -> float:
    """Of a split of all datasets, with what ends each text."""
    return sum(
        float(lengths[dataset].whole.sum() + len(lengths[dataset].texts))
        * lengths[dataset].scale(_shares(config.datasets[dataset], lengths[dataset])[split])
        for dataset in plan.datasets
    )


def ablation_work(config: Config, lengths: Mapping[str, Lengths]) -> list[tuple[Work, int]]:
    """Trainings of the variants, their losses, and the steps that they are measured by."""
    assert config.ablation is not None
    assert config.ablation_split is not None
    model, shapes = config.ablation.model, shapes_of_variants(config)
    plan = config.models[model].pretrain
    assert plan is not None
    jobs = [
        replace(pretraining_work(config, model, shape, lengths), rule="pretrain_variant", what=name)
        for name, shape in shapes.items()
    ]
    base = jobs[0].shape
    window = plan.window or base.context_length
    windows = _tokens(config, plan, config.ablation_split, lengths) / window
    jobs += [
        Work(
            "score_variant",
            name,
            flops=windows * _language_flops(shape, np.array([window]), window),
            steps=0,
            read_bytes=0,
            shape=shape,
            memory_mb=START_MB + inference_tensors_mb(shape, SCORED_AT_ONCE, window),
        )
        for name, shape in shapes.items()
    ]
    step = 3 * plan.training.batch_size * _language_flops(base, np.array([window]), window)
    steps = MEASURED_STEPS * len(shapes)
    tensors_mb = sum(training_tensors_mb(shape, plan.training, window) for shape in shapes.values())
    measuring = Work("measure_variants", config.name, steps * step, steps, 0, base, START_MB + tensors_mb)
    return [*((job, len(config.ablation.seeds)) for job in jobs), (measuring, 1)]


def run_work(config: Config, name: str, shape: Architecture, lengths: Lengths) -> list[Work]:
    """Of one seed: training, and what comes of it on the test split."""
    run, dataset = config.runs[name], config.datasets[config.runs[name].dataset]
    limit = min(run.max_length or shape.context_length, shape.context_length)
    read = np.minimum(lengths.whole, limit)
    is_classification = dataset.task == "classification"
    if is_classification:
        forward = _classification_flops(shape, read)
    else:
        forward = _language_flops(shape, read, int(np.minimum(lengths.texts + 1, read).sum()))
    training, split = run.training, _shares(dataset, lengths)
    frozen, each = _passes(run, shape)
    if not _stores_features(run):
        frozen, each = 0.0, frozen + each
    validation = training.evaluations * (1 - frozen) * forward * lengths.scale(split["validation"])
    length = int(read.max(initial=1))
    shares = {"train": split["train"], "validation": split["validation"]} | (
        {"test": split["test"]} if is_classification else {}
    )
    jobs = (
        [
            _feature_work(config, name, shape, part, frozen * forward * lengths.scale(share), length)
            for part, share in shares.items()
        ]
        if _stores_features(run)
        else []
    )
    jobs.append(
        Work(
            "finetune",
            name,
            flops=forward * lengths.scale(split["train"]) * each * training.epochs + validation,
            steps=training.epochs * len(read) * lengths.scale(split["train"]) / training.batch_size,
            read_bytes=0,
            shape=shape,
            memory_mb=START_MB + training_tensors_mb(shape, training, length),
        )
    )
    if is_classification:
        answered = (1 - frozen) * forward * lengths.scale(split["validation"] + split["test"])
        memory_mb = START_MB + inference_tensors_mb(shape, DECODED_AT_ONCE, length)
        return [*jobs, Work("predict", name, answered, 0, 0, shape, memory_mb)]
    asked = run.generation or Generation()
    rows = len(read) * lengths.scale(split["test"])
    batches = math.ceil(rows / asked.batch_size)
    for rule, answer, longest in (
        # A model that was not fine-tuned does not know when to end.
        ("generate_before", float(asked.max_new_tokens), asked.max_new_tokens),
        (
            "generate",
            float(np.minimum(lengths.texts + 1, asked.max_new_tokens).mean()),
            min(int(lengths.texts.max(initial=0)) + 1, asked.max_new_tokens),
        ),
    ):
        one_token = _language_flops(shape, np.array([1]), 1)
        jobs.append(
            Work(
                rule,
                name,
                # The prompt and the answer a token at a time, and how probable the reference is.
                flops=2 * forward * lengths.scale(split["test"]) + rows * answer * one_token,
                steps=batches * longest,
                read_bytes=batches * longest * weight_bytes(shape),
                shape=shape,
                memory_mb=START_MB + inference_tensors_mb(shape, asked.batch_size, int(lengths.whole.max(initial=1))),
            )
        )
    return jobs


def _shares(dataset: Dataset, lengths: Lengths) -> dict[str, float]:
    """Of all rows, in each split: its part of those that were read, and those that are generated for it; a test file's
    own come on top."""
    generated = {split: lengths.generated.get(split, 0) for split in SPLITS}
    used = 1 if dataset.task == "text" else dataset.sample
    of_file = lengths.rows - sum(generated.values())
    parts = {split: getattr(dataset.split, split) for split in SPLITS}
    if lengths.test_rows is not None:
        others = parts["train"] + parts["validation"]
        parts = {split: parts[split] / others for split in ("train", "validation")}
        parts["test"] = lengths.test_rows / max(1, of_file)
    return {split: (used * of_file * parts[split] + n) / max(1, lengths.rows) for split, n in generated.items()}


def _stores_features(run: Run) -> bool:
    """Of a grid, only the combinations do: they may freeze different blocks."""
    return run.trained_blocks is not None and not run.grid


def _feature_work(config: Config, name: str, shape: Architecture, split: str, flops: float, length: int) -> Work:
    run = config.runs[name]
    folder = f"{run.model}/{run.dataset}/last-{run.trained_blocks}/length-{run.max_length or 'whole'}"
    memory_mb = START_MB + inference_tensors_mb(shape, DECODED_AT_ONCE, length)
    return Work("trunk_features", f"{folder}/{split}", flops, 0, 0, shape, memory_mb)


def trial_work(config: Config, name: str, shape: Architecture, lengths: Lengths) -> list[Work]:
    """Of one seed: the trainings of a run's grid with what they store, and those on shares of the data."""
    run = config.runs[name]
    members = [run.chosen(values) for values in run.combinations.values()]
    trials = [
        *((f"grid/{combination}", member, 1.0) for combination, member in zip(run.combinations, members, strict=True)),
        *((f"learning-curve/share-{share}", run, share) for share in run.learning_curve),
    ]
    jobs = {}
    for trial, settings, share in trials:
        alone = config.model_copy(update={"runs": {name: settings}})
        for job in run_work(alone, name, shape, lengths):
            if job.rule == "finetune":
                one = replace(job, what=f"{name}/{trial}", flops=job.flops * share, steps=job.steps * share)
                jobs[one.name] = one
            elif job.rule == "trunk_features" and run.grid and not job.what.endswith("/test"):
                jobs[job.name] = job  # combinations that freeze the same share them
    return list(jobs.values())


def _passes(run: Run, shape: Architecture) -> tuple[float, float]:
    """The share of the way forward that is computed once and stored, and how many times all of it is paid for in each
    epoch."""
    match run.trainable:
        case LastBlocks(last_blocks=n):
            trained = min(1.0, n / shape.n_layers)
            return 1 - trained, 3 * trained
        case LoRAOnly():
            return 0, 2
        case "head":
            return 1, 0
    return 0, 3


def _classification_flops(shape: Architecture, lengths: np.ndarray) -> float:
    """Forward; in the last block only the last token asks."""
    positions, pairs = int(lengths.sum()), int((lengths * (lengths + 1) // 2).sum())
    lower = (shape.n_layers - 1) * block_flops(shape, positions, pairs)
    return lower + block_at_flops(shape, len(lengths), positions)


def _language_flops(shape: Architecture, lengths: np.ndarray, targets: int) -> float:
    positions, pairs = int(lengths.sum()), int((lengths * (lengths + 1) // 2).sum())
    blocks = shape.n_layers * block_flops(shape, positions, pairs)
    return blocks + head_flops(shape, targets, shape.vocab_size)


def disk_bytes(
    config: Config, file_bytes: Mapping[str, int], lengths: Mapping[str, Mapping[str, Lengths]]
) -> tuple[float, float]:
    """What the runs leave (prepared texts, tokens, checkpoints, features), and what a training's state takes beside it
    while it lasts.

    lengths: by tokenizer and dataset.
    """
    total = float(sum(file_bytes.values()))
    for of_tokenizer in lengths.values():
        total += sum(2 * float(one.whole.sum()) * one.scale(1) for one in of_tokenizer.values())
    models = {run.model for run in config.runs.values()}
    for name in models:
        if (shape := shape_of(config, name)) is not None:
            downloaded = config.models[name].huggingface is not None
            total += FLOAT32_BYTES * shape.n_parameters * (2 if downloaded else 1)
    largest_state = 0.0
    for shape in shapes_of_variants(config).values():
        total += FLOAT32_BYTES * shape.n_parameters * len(config.ablation.seeds if config.ablation else ())
        largest_state = max(largest_state, 2 * 4 * FLOAT32_BYTES * shape.n_parameters)
    stored: dict[tuple[object, ...], float] = {}
    for run in config.runs.values():
        if (shape := shape_of(config, run.model)) is None:
            continue
        kept = 1 + len(run.combinations) + len(run.learning_curve)
        total += FLOAT32_BYTES * shape.n_parameters * len(run.seeds) * kept
        largest_state = max(largest_state, 2 * 4 * FLOAT32_BYTES * shape.n_parameters)
        one = lengths.get(config.models[run.model].tokenizer, {}).get(run.dataset)
        for training in (run, *map(run.chosen, run.combinations.values())):
            if _stores_features(training) and one is not None:
                features = FLOAT32_BYTES * shape.d_model * float(one.whole.sum()) * one.scale(1)
                # Those that freeze the same share them.
                key = (run.model, run.dataset, training.trained_blocks, training.max_length)
                stored[key] = min(features, 3e9 * config.execution.features_gb)
    return total + sum(stored.values()), largest_state
