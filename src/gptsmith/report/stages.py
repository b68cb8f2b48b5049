"""Time and memory of the stages, from the benchmark files of the workflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptsmith.report.results import read_lines

FOLDER = "benchmarks"


@dataclass(frozen=True)
class Stage:
    """The last execution of one job. What was not measured (a job of a moment) is None."""

    rule: str
    what: str
    seconds: float
    cpu_seconds: float | None
    peak_megabytes: float | None
    threads: float | None
    share: float  # of the longest stage


def read_stages(files: list[Path]) -> list[Stage]:
    """One stage a file logs/benchmarks/<rule>/<what it was for>.jsonl, the longest first."""
    records = {file: read_lines(file)[-1] for file in files}
    longest = max((record["s"] for record in records.values()), default=0) or 1
    stages = [_stage(file, record, longest) for file, record in records.items()]
    return sorted(stages, key=lambda stage: (-stage.seconds, stage.rule, stage.what))


def _stage(file: Path, record: dict[str, Any], longest: float) -> Stage:
    parts = file.with_suffix("").parts
    rule, *what = parts[parts.index(FOLDER) + 1 :] if FOLDER in parts else parts[-2:]
    return Stage(
        rule=rule,
        what="/".join(what),
        seconds=record["s"],
        cpu_seconds=_measured(record.get("cpu_time")),
        peak_megabytes=_measured(record.get("max_rss")),
        threads=_measured(record.get("threads")),
        share=record["s"] / longest,
    )


def _measured(value: Any) -> float | None:
    """Snakemake writes "NA" for what it could not sample, and threads only into extended benchmarks."""
    return value if isinstance(value, int | float) else None
