"""Time and memory of the stages, from the benchmark files of the workflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptsmith.report.results import read_lines


@dataclass(frozen=True)
class Stage:
    """The last execution of one job. What could not be measured (a job of a moment) is None."""

    rule: str
    what: str
    seconds: float
    cpu_seconds: float | None
    peak_megabytes: float | None
    threads: int | None
    share: float  # of the longest stage


def read_stages(files: list[Path]) -> list[Stage]:
    """One stage a file, the longest first."""
    records = [read_lines(file)[-1] for file in files]
    longest = max((float(record["s"]) for record in records), default=0) or 1.0
    stages = [_stage(record, longest) for record in records]
    return sorted(stages, key=lambda stage: (-stage.seconds, stage.rule, stage.what))


def _stage(record: dict[str, Any], longest: float) -> Stage:
    wildcards = record.get("wildcards")
    threads = _measured(record.get("threads"))
    return Stage(
        rule=str(record["rule_name"]),
        what=", ".join(str(value) for value in wildcards.values()) if isinstance(wildcards, dict) else "",
        seconds=float(record["s"]),
        cpu_seconds=_measured(record.get("cpu_time")),
        peak_megabytes=_measured(record.get("max_rss")),
        threads=None if threads is None else int(threads),
        share=float(record["s"]) / longest,
    )


def _measured(value: Any) -> float | None:
    """Snakemake writes "NA" for what it could not sample."""
    return float(value) if isinstance(value, int | float) else None
