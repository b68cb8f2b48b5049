"""What each job of a run takes, roughly: those that compute by their work, the others by what they took elsewhere."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from gptsmith.config.architecture import Architecture
from gptsmith.config.load import Config, settings_hash
from gptsmith.inspection.estimate import Work
from gptsmith.inspection.requirements import Requirements, duration

SECONDS_A_RUN = 3.0
"""Of Snakemake, before its first job and after its last."""

# Seconds of a job, mostly for the start of Python and its libraries; more of them for a MB of the dataset's file; and
# MB of memory. On two cores of a server, with other jobs beside them.
OTHER_STAGES = {
    "download": (5.0, 0.0, 100),
    "extract": (1.0, 0.01, 50),
    "prepare": (2.0, 0.035, 150),
    "read_shard": (2.0, 0.003, 150),
    "train_tokenizer": (2.0, 0.0, 120),
    "fetch_tokenizer": (3.0, 0.0, 100),
    "gguf_tokenizer": (2.0, 0.0, 150),
    "tokenize": (2.0, 0.14, 180),
    "tokenize_shard": (2.0, 0.02, 180),
    "download_weights": (10.0, 0.0, 100),
    "convert_weights": (5.0, 0.0, 400),
    "download_gguf": (10.0, 0.0, 100),
    "convert_gguf": (6.0, 0.0, 450),
    "import_checkpoint": (5.0, 0.0, 400),
    "random_weights": (4.0, 0.0, 330),
    "verify_weights": (6.0, 0.0, 400),
    "baselines": (5.0, 0.2, 280),
    "score_trial": (5.0, 0.2, 400),
    "ablation": (2.5, 0.0, 200),
    "choose": (2.0, 0.0, 200),
    "keep_chosen": (1.0, 0.0, 50),
    "sweep": (2.0, 0.0, 200),
    "learning_curve": (4.0, 0.2, 280),
    "evaluate": (1.5, 0.0, 180),
    "summarize": (2.0, 0.0, 200),
    "comparisons": (2.0, 0.0, 200),
    "collect_metrics": (0.5, 0.0, 50),
    "report": (3.0, 0.0, 250),
}
WEIGHTS_HELD = {
    "convert_weights": 4,
    "convert_gguf": 4,
    "import_checkpoint": 4,
    "random_weights": 4,
    "verify_weights": 4,
    "score_trial": 2,
}
"""How many times the stages above have a model's weights in memory, of those that have."""


@dataclass(frozen=True)
class Job:
    """As Snakemake plans it."""

    rule: str
    """Whose name its log has: a fine-tuning with LoRA is one of `finetune`."""
    what: str
    """What of, as in the name of its log: `starter/spam/seed-1`."""


@dataclass(frozen=True)
class Stage:
    rule: str
    what: str
    seconds: float | None
    """None where nothing is known yet."""
    memory_mb: float | None


@dataclass(frozen=True)
class Machine:
    """That the estimate is for."""

    device: str
    cores: int
    flops_per_second: Mapping[Architecture, float]
    """Of products as in Requirements.products."""


def estimate_stages(config: Config, found: Requirements, jobs: Sequence[Job], machine: Machine) -> list[Stage]:
    """One a job, in their order."""
    work = {(one.rule, one.what): one for one, _ in found.work}
    return [_stage(config, found, job, work, machine) for job in jobs]


def _stage(
    config: Config, found: Requirements, job: Job, work: Mapping[tuple[str, str], Work], machine: Machine
) -> Stage:
    training = _without_seed(job.what.removeprefix(f"{config.name}/"))
    of_run = training.split("/")[0]
    known = work.get((job.rule, job.what)) or work.get((job.rule, training)) or work.get((job.rule, of_run))
    if known is not None and known.shape in machine.flops_per_second:
        seconds = known.seconds(machine.flops_per_second[known.shape])
        return Stage(job.rule, job.what, round(seconds, 1), float(known.memory_mb))
    if job.rule not in OTHER_STAGES:
        return Stage(job.rule, job.what, None, None)
    seconds, seconds_per_mb, memory_mb = OTHER_STAGES[job.rule]
    datasets = {config.runs[of_run].dataset} if of_run in config.runs else set(job.what.split("/"))
    megabytes = sum(size / 1e6 for name, size in found.file_bytes.items() if name in datasets)
    held = WEIGHTS_HELD.get(job.rule, 0)
    shape = found.shapes.get(config.runs[of_run].model if job.rule == "score_trial" else job.what)
    weights_mb = 4e-6 * shape.n_parameters if held and shape is not None else 0.0
    # Disks give some 200 MB a second.
    seconds += seconds_per_mb * megabytes + weights_mb / 200
    return Stage(job.rule, job.what, round(seconds, 1), memory_mb + held * weights_mb)


def elapsed_seconds(config: Config, stages: Sequence[Stage], cores: int) -> float:
    """As long as the cores are busy, or as the longest way through the stages; of those that are known."""
    seconds = [(stage, stage.seconds) for stage in stages if stage.seconds is not None]
    longest: dict[str, float] = {}
    for stage, each in seconds:
        longest[stage.rule] = max(longest.get(stage.rule, 0.0), each)
    busy = sum(each * _threads(config, stage, cores) for stage, each in seconds) / cores
    return SECONDS_A_RUN + max(busy, sum(longest.values()))


def _threads(config: Config, stage: Stage, cores: int) -> int:
    if stage.rule == "measure_variants":
        return cores
    return min(cores, config.execution.threads) if stage.rule not in OTHER_STAGES else 1


def estimate_json(config: Config, found: Requirements, stages: Sequence[Stage], machine: Machine) -> dict[str, Any]:
    """What results/<name>/estimate.json holds."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings_hash(config),
        "device": machine.device,
        "cores": machine.cores,
        "gflops_per_second": {
            name: round(machine.flops_per_second[shape] / 1e9, 1)
            for name, shape in found.shapes.items()
            if shape in machine.flops_per_second
        },
        "unknown": [*found.unknown, *dict.fromkeys(stage.rule for stage in stages if stage.seconds is None)],
        "stages": [asdict(stage) for stage in stages],
        "total": {
            "seconds": round(elapsed_seconds(config, stages, machine.cores), 1),
            "memory_mb": max((stage.memory_mb for stage in stages if stage.memory_mb is not None), default=None),
            "disk_bytes": round(found.disk_bytes),
            "disk_bytes_while_training": round(found.disk_bytes + found.state_bytes),
        },
    }


def describe_estimate(
    stages: Sequence[Stage], estimate: Mapping[str, Any], found: Requirements, free_memory: float, free_disk: float
) -> Iterator[str]:
    """Plain lines; of the stages those that take the most."""
    if not found.work:
        yield "time and memory: not known yet"
        return
    groups: dict[str, list[float]] = {}
    for stage in stages:
        if stage.seconds is not None and stage.rule not in OTHER_STAGES:
            groups.setdefault(f"{stage.rule} {_without_seed(stage.what)}", []).append(stage.seconds)
    for name, seconds in groups.items():
        times = f", {len(seconds)} times" if len(seconds) > 1 else ""
        yield f"  {name}: {duration(sum(seconds) / len(seconds))}{times}"
    others = sum(stage.seconds for stage in stages if stage.seconds is not None) - sum(map(sum, groups.values()))
    yield f"  all others together: {duration(others)}"
    if unknown := [stage.rule for stage in stages if stage.seconds is None]:
        yield f"  not known: {counted(unknown)}"
    total, speeds = estimate["total"], estimate["gflops_per_second"].values()
    yield (
        f"time: roughly {duration(total['seconds'])} on {estimate['device']} ({estimate['cores']} cores; "
        f"{', '.join(f'{speed:,.0f}' for speed in sorted(set(speeds)))} GFLOP/s in products of this size)"
    )
    yield _of("memory", 1e6 * (total["memory_mb"] or 0), free_memory, "a job at most")
    most = total["disk_bytes_while_training"]
    yield _of("disk", most, free_disk, f"about {_size(total['disk_bytes'])}, while it trains")


def counted(rules: Iterable[str]) -> str:
    """`prepare 2, finetune`."""
    return ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in Counter(rules).items())


def _without_seed(what: str) -> str:
    return what.partition("/seed-")[0]


def _of(what: str, needed: float, free: float, words: str) -> str:
    line = f"{what}: {words} {_size(needed)}; {_size(free)} are free"
    return f"{line} - not enough" if needed > free else line


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.0f} MB"
