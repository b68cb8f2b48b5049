"""Time and memory of the stages, from the benchmark files of the workflow, beside what `gptsmith check` estimated."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptsmith.config.load import settings_hash
from gptsmith.report.results import read_lines

FOLDER = "benchmarks"
LONG = 0.2
"""Of the longest stage: from here on it matters how far off an estimate is."""


@dataclass(frozen=True)
class Stage:
    """The last execution of one job. What was not measured (a job of a moment) is None."""

    rule: str
    what: str
    seconds: float
    cpu_seconds: float | None
    peak_mebibytes: float | None
    threads: float | None
    share: float  # of the longest stage
    estimated_seconds: float | None = None
    estimated_mebibytes: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What `gptsmith check` expected, and how far off it was. Sums are of the stages that both know."""

    date: str
    machine: str
    is_of_these_settings: bool
    estimated_seconds: float
    measured_seconds: float
    estimated_mebibytes: float | None
    """Of the stage that takes the most."""
    estimated_disk_mebibytes: float
    measured_disk_mebibytes: float | None
    farthest: Stage | None
    """Off by the largest factor, of those that take a fifth of the longest or more."""

    @property
    def factor(self) -> float:
        return self.measured_seconds / self.estimated_seconds


def read_stages(files: list[Path], estimate: dict[str, Any] | None = None) -> list[Stage]:
    """One stage a file logs/benchmarks/<rule>/<what it was for>.jsonl, the longest first."""
    records = {file: read_lines(file)[-1] for file in files}
    expected = {(stage["rule"], stage["what"]): stage for stage in (estimate or {}).get("stages", [])}
    longest = max((record["s"] for record in records.values()), default=0) or 1
    stages = [_stage(file, record, longest, expected) for file, record in records.items()]
    return sorted(stages, key=lambda stage: (-stage.seconds, stage.rule, stage.what))


def read_estimate(
    estimate: dict[str, Any], stages: list[Stage], settings: dict[str, Any], folders: list[Path]
) -> Estimate | None:
    """None where it knows none of the stages. `folders`: all that the run has left on the disk."""
    both = [stage for stage in stages if stage.estimated_seconds]
    if not both:
        return None
    long = [stage for stage in both if stage.share >= LONG]
    memory = [s.estimated_mebibytes for s in both if s.estimated_mebibytes is not None]
    return Estimate(
        date=estimate["date"],
        machine=f"{estimate['device']}, {estimate['cores']} cores",
        is_of_these_settings=estimate["settings"] == settings_hash(settings),
        estimated_seconds=sum(stage.estimated_seconds or 0 for stage in both),
        measured_seconds=sum(stage.seconds for stage in both),
        estimated_mebibytes=max(memory, default=None),
        estimated_disk_mebibytes=estimate["total"]["disk_bytes"] / 2**20,
        measured_disk_mebibytes=sum(map(_bytes_in, folders)) / 2**20 if folders else None,
        farthest=max(long, key=_times_off, default=None),
    )


def _times_off(stage: Stage) -> float:
    return abs(math.log(max(stage.seconds, 0.1) / max(stage.estimated_seconds or 0, 0.1)))


def _bytes_in(folder: Path) -> int:
    files = folder.rglob("*") if folder.is_dir() else [folder]
    return sum(file.stat().st_size for file in files if file.is_file())


def _stage(file: Path, record: dict[str, Any], longest: float, expected: dict[tuple[str, str], Any]) -> Stage:
    parts = file.with_suffix("").parts
    rule, *what = parts[parts.index(FOLDER) + 1 :] if FOLDER in parts else parts[-2:]
    estimated = expected.get((rule, "/".join(what)), {})
    estimated_mebibytes = _measured(estimated.get("memory_mb"))
    return Stage(
        rule=rule,
        what="/".join(what),
        seconds=record["s"],
        cpu_seconds=_measured(record.get("cpu_time")),
        peak_mebibytes=_measured(record.get("max_rss")),
        threads=_measured(record.get("threads")),
        share=record["s"] / longest,
        estimated_seconds=_measured(estimated.get("seconds")),
        estimated_mebibytes=None if estimated_mebibytes is None else estimated_mebibytes * 1e6 / 2**20,
    )


def _measured(value: Any) -> float | None:
    """Snakemake writes "NA" for what it could not sample, and threads only into extended benchmarks."""
    return value if isinstance(value, int | float) else None
