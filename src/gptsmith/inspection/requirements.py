"""What the runs of a config need, in numbers and in plain lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gptsmith.config.architecture import Architecture
from gptsmith.config.load import Config
from gptsmith.inspection.estimate import Cut, Work, cut_off, disk_bytes, pretraining_work, run_work, shape_of
from gptsmith.inspection.samples import Lengths, count_tokens, find_raw, read_sample

JOB_SECONDS = 4
"""Of each job around its work, such as the start of Python and torch."""
JOBS_OF_A_RUN = 12


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
    disk_bytes: float


def requirements_of(config: Config) -> Requirements:
    """Reads beginnings of the files. Raises UserError for a file that is missing or not as the config says."""
    models = {run.model: config.models[run.model] for run in config.runs.values()}
    used = {run.dataset for run in config.runs.values()}
    used |= {dataset for model in models.values() if model.pretrain for dataset in model.pretrain.datasets}
    used |= {dataset for model in models.values() for dataset in config.tokenizers[model.tokenizer].train_on or []}
    raw = {name: find_raw(name, config.datasets[name]) for name in sorted(used)}
    samples = {name: read_sample(path, config.datasets[name]) for name, path in raw.items() if path is not None}
    lengths = {model.tokenizer: count_tokens(model.tokenizer, config, samples) for model in models.values()}
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
    for name, run in config.runs.items():
        shape = shape_of(config, run.model)
        one = lengths[config.models[run.model].tokenizer].get(run.dataset)
        if shape is None or one is None:
            continue
        cuts[name] = cut_off(run, shape, one)
        work += [(job, len(run.seeds)) for job in run_work(config, name, shape, one)]
        rows = run.training.micro_batch_size or run.training.batch_size
        products[shape] = max(1, round(rows * float(np.minimum(one.whole, cuts[name].limit).mean())))
    sizes = {name: sample.file_bytes for name, sample in samples.items()}
    return Requirements(lengths, unknown, cuts, work, products, disk_bytes(config, sizes, lengths))


def describe(
    config: Config,
    found: Requirements,
    rates: Mapping[Architecture, float],
    device: str,
    cores: int,
    free_memory: float,
    free_disk: float,
) -> Iterator[str]:
    """Plain lines. `rates` are floating-point operations a second of products as in `found.products`."""
    for name, cut in found.cuts.items():
        run = config.runs[name]
        lengths = found.lengths[config.models[run.model].tokenizer][run.dataset]
        yield (
            f"{name}: {lengths.rows:,} rows of {lengths.whole.mean():.0f} tokens on average; "
            f"{cut.texts / cut.of_texts:.1%} are longer than {cut.limit}, "
            f"which cuts off {cut.tokens / cut.of_tokens:.1%} of all tokens"
        )
        if config.datasets[run.dataset].task == "instruction":
            yield from _too_long(name, config, lengths)
    if found.unknown:
        yield f"not known before it is there, and left out of what follows: {', '.join(found.unknown)}"
    seconds = [(job.name, count, job.seconds(rates[job.shape])) for job, count in found.work if job.shape in rates]
    for name, count, each in seconds:
        yield f"  {name}: {duration(each)}" + (f", {count} times" if count > 1 else "")
    if not seconds:
        yield "time and memory: not known yet"
        return
    at_once = max(1, min(cores // max(1, config.execution.threads), max((n for _, n, _ in seconds), default=1)))
    total = sum(count * each for _, count, each in seconds) / at_once
    # The jobs of a run mostly wait for each other; those of several runs go side by side.
    total += JOB_SECONDS * JOBS_OF_A_RUN * max(1, len(config.runs) / cores)
    speed = ", ".join(f"{rate / 1e9:,.0f}" for rate in rates.values())
    yield f"time: roughly {duration(total)} on {device} ({cores} cores; {speed} GFLOP/s in products of this size)"
    memory = 1e6 * max((job.memory_mb for job, _ in found.work), default=0)
    yield _of("memory", memory, free_memory, "a job at most")
    yield _of("disk", found.disk_bytes, free_disk, "about")


def _too_long(name: str, config: Config, lengths: Lengths) -> Iterator[str]:
    shape = shape_of(config, config.runs[name].model)
    if shape is not None and (n := int(np.count_nonzero(lengths.whole > shape.context_length))):
        yield (
            f"{name}: {n} rows looked at do not fit the context of {shape.context_length} tokens: one of them in the "
            f"test split would stop the run. Raise context_length to {int(lengths.whole.max())} or remove them."
        )


def _of(what: str, needed: float, free: float, words: str) -> str:
    line = f"{what}: {words} {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free"
    return f"{line} - not enough" if needed > free else line


def duration(seconds: float) -> str:
    """In the unit that one would say it in."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{0 if seconds >= 10 * length else 1}f} {unit}s"
    return f"{max(1, round(seconds))} seconds"
