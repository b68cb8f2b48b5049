"""What the runs of a config need, in numbers and in plain lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptsmith.config.architecture import Architecture
from gptsmith.config.load import Config
from gptsmith.inspection.estimate import (
    Cut,
    Work,
    ablation_work,
    cut_off,
    disk_bytes,
    pretraining_work,
    run_work,
    shape_of,
    shapes_of_variants,
    trial_work,
)
from gptsmith.inspection.samples import Lengths, count_tokens, find_raw, find_test, read_sample


@dataclass(frozen=True)
class Requirements:
    lengths: dict[str, dict[str, Lengths]]
    """By tokenizer and dataset."""
    unknown: list[str]
    """Datasets that are not there yet, and models whose shape a folder tells."""
    cuts: dict[str, Cut]
    work: list[tuple[Work, int]]
    """Jobs and how many there are of each."""
    products: dict[Architecture, int]
    """By shape, rows of the products that a training mostly is."""
    shapes: dict[str, Architecture]
    """By model."""
    file_bytes: dict[str, int]
    """By dataset."""
    disk_bytes: float
    """What the runs leave."""
    state_bytes: float
    """What trainings take beside it while they last."""


def requirements_of(config: Config) -> Requirements:
    """Reads beginnings of the files. Raises UserError for a file that is missing or not as the config says."""
    models = {run.model: config.models[run.model] for run in config.runs.values()}
    ablated = [config.models[config.ablation.model]] if config.ablation else []
    used = {run.dataset for run in config.runs.values()}
    for model in (*models.values(), *ablated):
        used |= {*(model.pretrain.datasets if model.pretrain else ())}
        used |= {*(config.tokenizers[model.tokenizer].train_on or ())}
    datasets = {name: config.datasets[name] for name in sorted(used)}
    raw = {name: find_raw(name, dataset) for name, dataset in datasets.items()}
    samples = {
        name: read_sample(path, datasets[name], find_test(name, datasets[name]))
        for name, path in raw.items()
        if path is not None
    }
    tokenizers = {model.tokenizer for model in (*models.values(), *ablated)}
    lengths = {tokenizer: count_tokens(tokenizer, config, samples) for tokenizer in sorted(tokenizers)}
    unknown = [f"dataset {name}" for name, path in raw.items() if path is None]
    cuts: dict[str, Cut] = {}
    work: list[tuple[Work, int]] = []
    products: dict[Architecture, int] = {}
    for name, model in models.items():
        shape, of_model = shape_of(config, name), lengths[model.tokenizer]
        if shape is None:
            unknown.append(f"model {name}")
        elif model.pretrain is not None and set(model.pretrain.datasets) <= of_model.keys():
            work.append((pretraining_work(config, name, shape, of_model), 1))
    for model in ablated:
        plan, of_model = model.pretrain, lengths[model.tokenizer]
        if plan is not None and set(plan.datasets) <= of_model.keys():
            work += ablation_work(config, of_model)
            for shape in shapes_of_variants(config).values():
                rows = plan.training.micro_batch_size or plan.training.batch_size
                products[shape] = rows * (plan.window or shape.context_length)
    for name, run in config.runs.items():
        shape = shape_of(config, run.model)
        one = lengths[config.models[run.model].tokenizer].get(run.dataset)
        if shape is None or one is None:
            continue
        cuts[name] = cut_off(run, shape, one)
        # Of a grid, one of the trials becomes the run.
        jobs = [job for job in run_work(config, name, shape, one) if not (run.grid and job.rule == "finetune")]
        work += [(job, len(run.seeds)) for job in (*trial_work(config, name, shape, one), *jobs)]
        rows = run.training.micro_batch_size or run.training.batch_size
        products[shape] = max(1, round(rows * float(np.minimum(one.whole, cuts[name].limit).mean())))
    named = [*models, *([config.ablation.model] if config.ablation else [])]
    shapes = {name: shape for name in named if (shape := shape_of(config, name)) is not None}
    sizes = {name: sample.file_bytes for name, sample in samples.items()}
    archives = {name: file.stat().st_size for name in sizes if (file := Path("data/raw", name, "archive")).is_file()}
    left, state = disk_bytes(config, {name: size + archives.get(name, 0) for name, size in sizes.items()}, lengths)
    return Requirements(lengths, unknown, cuts, work, products, shapes, sizes, left, state)


def describe(config: Config, found: Requirements) -> Iterator[str]:
    """What is cut off and what is not known, in plain lines."""
    for name, cut in found.cuts.items():
        run = config.runs[name]
        lengths = found.lengths[config.models[run.model].tokenizer][run.dataset]
        about = "about " if lengths.is_estimated else ""
        yield (
            f"{name}: {about}{lengths.rows:,} rows of {lengths.whole.mean():.0f} tokens on average; "
            f"{cut.texts / cut.of_texts:.1%} are longer than {cut.limit}, "
            f"which cuts off {cut.tokens / cut.of_tokens:.1%} of all tokens"
        )
        if config.datasets[run.dataset].task == "instruction":
            yield from _too_long(name, config, lengths)
    if found.unknown:
        yield f"not known before it is there, and left out of what follows: {', '.join(found.unknown)}"


def _too_long(name: str, config: Config, lengths: Lengths) -> Iterator[str]:
    shape = shape_of(config, config.runs[name].model)
    if shape is not None and (n := int(np.count_nonzero(lengths.whole > shape.context_length))):
        yield (
            f"{name}: {n} rows looked at do not fit the context of {shape.context_length} tokens: one of them in the "
            f"test split would stop the run. Raise context_length to {int(lengths.whole.max())} or remove them."
        )


def duration(seconds: float) -> str:
    """In the unit that one would say it in."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{0 if seconds >= 10 * length else 1}f} {unit}s"
    return f"{max(1, round(seconds))} seconds"
