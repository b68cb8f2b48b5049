"""How far a run is, from what its recorder wrote (gptsmith.monitoring.recorder) and the logs of its jobs."""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from gptsmith.files import read_json
from gptsmith.monitoring.recorder import FOLDER
from gptsmith.progress_line import Step, parse

TAIL_BYTES = 8192
SILENT_AFTER = 3600.0
"""Seconds without a sign of life after which a run on another machine is no longer called running."""
CLOCKS_DIFFER = 2.0
"""Seconds between the clocks of machines that share a disk, and steps of its dates."""

NOT_TIMED = {"collect_metrics": 2.0, "report": 4.0}
"""Seconds of the stages that Snakemake times for nobody."""

JobState = Literal["running", "done", "failed"]
RunState = Literal["running", "done", "failed", "stopped", "broken off", "silent"]


@dataclass(frozen=True)
class Job:
    rule: str
    what: str
    """What of, as in the name of its log: `starter/spam/seed-1`."""
    log: Path | None
    result: Path | None
    """A file that is there, and new, when it is done."""
    threads: int
    started: float
    ended: float | None = None
    state: JobState = "running"

    @property
    def title(self) -> str:
        return f"{self.rule} {self.what}".rstrip()


@dataclass(frozen=True)
class Run:
    """Times are seconds since 1970."""

    name: str
    pid: int
    host: str
    cores: int | None
    """None: not on this machine alone."""
    started: float
    ended: float | None
    """When its Snakemake said good-bye."""
    planned: dict[str, int]
    """Rule -> jobs."""
    jobs: list[Job]
    last_sign: float

    def count(self, state: JobState) -> int:
        return sum(job.state == state for job in self.jobs)

    @property
    def total(self) -> int:
        return max(sum(self.planned.values()), len(self.jobs))

    @property
    def waiting(self) -> dict[str, int]:
        left = Counter(self.planned)
        left.subtract(job.rule for job in self.jobs)
        return {rule: count for rule, count in left.items() if count > 0}


def read_runs(folder: Path = FOLDER) -> list[Run]:
    """The last run of each config, the one that began first first."""
    runs = []
    for path in folder.glob("*.jsonl"):
        try:
            runs.append(_read_run(path))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # not begun yet, or not ours
    return sorted(runs, key=lambda run: run.started)


def _read_run(path: Path) -> Run:
    events = list(_events(path.read_text(encoding="utf-8")))
    head = events[0]
    jobs: dict[int, Job] = {}
    for event in events[1:]:
        match event["event"]:
            case "job":
                jobs[event["id"]] = _job(event)
            case "finished" | "failed" if event["id"] in jobs:
                state: JobState = "done" if event["event"] == "finished" else "failed"
                jobs[event["id"]] = replace(jobs[event["id"]], state=state, ended=event["time"])
    # Where Snakemake is to be quiet about its progress, it does not say which jobs are finished.
    seen = [_seen_done(job) for job in jobs.values() if job.rule != "all"]
    ended = events[-1]["time"] if events[-1]["event"] == "end" else None
    signs = [path.stat().st_mtime, *(_modified(job.log) for job in seen if job.state == "running")]
    return Run(
        name=path.stem,
        pid=head["pid"],
        host=head["host"],
        cores=head["cores"],
        started=head["time"],
        ended=ended,
        planned=head["planned"],
        jobs=seen,
        last_sign=max(signs),
    )


def _events(text: str) -> Iterable[dict[str, Any]]:
    # The last line may be on its way.
    return (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))


def _job(event: Mapping[str, Any]) -> Job:
    log = Path(event["log"]) if event["log"] else None
    return Job(
        rule=event["rule"],
        # Below logs/<the rule, or the one that it is like>.
        what="/".join(log.with_suffix("").parts[2:]) if log else "",
        log=log,
        result=Path(event["result"]) if event["result"] else None,
        threads=event["threads"],
        started=event["time"],
    )


def _seen_done(job: Job) -> Job:
    if job.state != "running" or (made := _modified(job.result)) < job.started - CLOCKS_DIFFER:
        return job
    return replace(job, state="done", ended=made)


def _modified(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path else 0.0
    except OSError:
        return 0.0


def state_of(run: Run, now: float) -> RunState:
    if run.ended is not None:
        if run.count("failed"):
            return "failed"
        return "done" if run.count("done") >= run.total else "stopped"
    if run.host == platform.node():
        return "running" if _is_alive(run.pid, run.started) else "broken off"
    return "running" if now - run.last_sign < SILENT_AFTER else "silent"


def _is_alive(pid: int, since: float) -> bool:
    """Whether the process is one that was there then: numbers are given again."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def step_of(job: Job) -> Step | None:
    """The last that a job's log says about how far it is."""
    if job.log is None or _modified(job.log) < job.started - CLOCKS_DIFFER:
        return None
    try:
        with job.log.open("rb") as file:
            file.seek(max(0, job.log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((found for line in reversed(lines) if (found := parse(line)) is not None), None)


def seconds_known(run: Run, results: Path = Path("results"), logs: Path = Path("logs/benchmarks")) -> dict[str, float]:
    """What a job of each rule takes: as in this run, else as `gptsmith check` estimated, else as before."""
    taken: dict[str, list[float]] = {}
    for job in run.jobs:
        if job.state == "done" and job.ended is not None:
            taken.setdefault(job.rule, []).append(job.ended - job.started)
    for source in (_estimated(results / run.name / "estimate.json"), _before(run, logs)):
        for rule, seconds in source.items():
            taken.setdefault(rule, seconds)
    return NOT_TIMED | {rule: sum(seconds) / len(seconds) for rule, seconds in taken.items()}


def _estimated(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    try:
        for stage in read_json(path)["stages"]:
            if stage["seconds"] is not None:
                found.setdefault(stage["rule"], []).append(float(stage["seconds"]))
    except Exception:
        return {}
    return found


def _before(run: Run, logs: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for rule in run.planned:
        for path in sorted((logs / rule).rglob("*.jsonl")):
            try:
                seconds = float(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["s"])
            except (OSError, ValueError, LookupError, TypeError):
                continue
            found.setdefault(rule, []).append(seconds)
    return found


def seconds_left(run: Run, steps: Mapping[str, Step], known: Mapping[str, float], now: float) -> tuple[float, bool]:
    """Roughly, and whether that is all of it: of a rule that never ran nothing is known.

    steps: by the title of the job.
    """
    running = [(job, _left(job, steps.get(job.title), known, now)) for job in run.jobs if job.state == "running"]
    lefts = [left for _, left in running if left is not None]
    longest = max(lefts, default=0.0)
    is_all = len(lefts) == len(running) and all(rule in known for rule in run.waiting)
    if run.cores is None:
        # On a cluster the jobs of a rule run side by side.
        return longest + sum(known.get(rule, 0.0) for rule in run.waiting), is_all
    threads = {job.rule: job.threads for job in run.jobs}
    work = sum(job.threads * left for job, left in running if left is not None)
    work += sum(count * known.get(rule, 0.0) * threads.get(rule, 1) for rule, count in run.waiting.items())
    return max(longest, work / max(1, run.cores)), is_all


def _left(job: Job, step: Step | None, known: Mapping[str, float], now: float) -> float | None:
    if step is not None:
        return max(0.0, step.seconds_left - max(0.0, now - _modified(job.log)))
    return max(0.0, known[job.rule] - (now - job.started)) if job.rule in known else None
