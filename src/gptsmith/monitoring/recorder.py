"""What Snakemake says of a run, written down as it happens, for whoever wants to know how far the run is.

Snakemake attaches an event to what it logs (snakemake_interface_logger_plugins.common.LogEvent). Each one that counts
becomes a line of JSON in `.gptsmith/progress/<name>.jsonl`, which a later run of the same config replaces.
"""

import contextlib
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any, TextIO

FOLDER = Path(".gptsmith", "progress")


class Recorder(logging.Handler):
    """To be added to Snakemake's logger. Nothing that goes wrong here is any matter of the run's."""

    def __init__(self, name: str) -> None:
        """name: the config's."""
        super().__init__()
        self.path = FOLDER / f"{name}.jsonl"
        self.cores: int | None = None
        self.file: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            match getattr(record, "event", None):
                case "resources_info":
                    self.cores = getattr(record, "cores", self.cores)
                case "run_info":
                    self._begin(record.stats)  # type: ignore[attr-defined]
                case "job_info":
                    self._write(event="job", **_job(record))
                case "job_finished":
                    self._write(event="finished", id=record.job_id)  # type: ignore[attr-defined]
                case "job_error":
                    self._write(event="failed", id=record.jobid)  # type: ignore[attr-defined]

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._write(event="end")
            if self.file is not None:
                self.file.close()
                self.file = None
        super().close()

    def _begin(self, counts: dict[str, int]) -> None:
        """A new file, so that another run of this config that is still going on keeps its own."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.file = self.path.open("w", encoding="utf-8", buffering=1)
        planned = {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}
        self._write(event="run", pid=os.getpid(), host=platform.node(), cores=self.cores, planned=planned)

    def _write(self, **values: Any) -> None:
        if self.file is not None:
            self.file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")


def _job(record: logging.LogRecord) -> dict[str, Any]:
    job: Any = record
    logs, outputs = list(job.log or []), list(job.output or [])
    # Snakemake writes a benchmark when a job has succeeded, our scripts their output as the last thing.
    result = job.benchmark or next(iter(outputs), None)
    return {
        "id": job.jobid,
        "rule": job.rule_name,
        "log": str(logs[0]) if logs else None,
        "result": str(result) if result else None,
        "threads": job.threads,
    }
