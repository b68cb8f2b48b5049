"""What is to be told of a run at one moment, as values and in words."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gptsmith.monitoring.runs import Job, Run, RunState, seconds_known, seconds_left, state_of, step_of
from gptsmith.progress_line import Step, clock


@dataclass(frozen=True)
class Snapshot:
    run: Run
    state: RunState
    now: float
    steps: dict[str, Step]
    """By the title of the job: of running jobs that say how far they are."""
    left: float
    """Seconds, roughly; 0 when nothing runs."""
    left_is_all: bool

    @property
    def running(self) -> list[Job]:
        return [job for job in self.run.jobs if job.state == "running"] if self.state == "running" else []

    @property
    def elapsed(self) -> float:
        run = self.run
        end = self.now if self.state == "running" else run.ended or run.last_sign
        return max(0.0, end - run.started)


def snapshot(run: Run, now: float | None = None) -> Snapshot:
    now = time.time() if now is None else now
    state = state_of(run, now)
    if state != "running":
        return Snapshot(run, state, now, {}, 0.0, True)
    steps = {job.title: step for job in run.jobs if job.state == "running" and (step := step_of(job)) is not None}
    left, is_all = seconds_left(run, steps, seconds_known(run), now)
    return Snapshot(run, state, now, steps, left, is_all)


def headline(seen: Snapshot) -> str:
    run = seen.run
    done = f"{run.count('done')} of {run.total} jobs done"
    failed = f", {run.count('failed')} failed" if run.count("failed") else ""
    match seen.state:
        case "running":
            roughly = "about" if seen.left_is_all else "more than"
            left = f", {roughly} {clock(seen.left)} left" if seen.left >= 1 else ""
            return f"{run.name}: {done}{failed}, {clock(seen.elapsed)} so far{left}"
        case "silent":
            return f"{run.name}: {done}{failed}; no sign of life from {run.host} since {_when(run.last_sign)}"
        case "broken off":
            return f"{run.name}: broken off, {done}{failed}, last sign of life {_when(run.last_sign)}"
        case state:
            return f"{run.name}: {state}, {done}{failed}, in {clock(seen.elapsed)}, {_when(run.ended or run.last_sign)}"


def of_job(job: Job, seen: Snapshot) -> str:
    """What a running job is at."""
    if (step := seen.steps.get(job.title)) is not None:
        detail = f", {step.detail}" if step.detail else ""
        return f"{step.unit} {step.done:,}/{step.total:,}{detail}, {clock(step.seconds_left)} left"
    return f"for {clock(seen.now - job.started)}"


def short_title(job: Job, run: Run) -> str:
    """Without the name of the config."""
    return f"{job.rule} {job.what.removeprefix(f'{run.name}/')}".rstrip()


def counted(rules: dict[str, int]) -> str:
    """`prepare 2, finetune`."""
    return ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in rules.items())


def rules_of(jobs: list[Job], state: str) -> dict[str, int]:
    return dict(Counter(job.rule for job in jobs if job.state == state))


def as_json(seen: Snapshot) -> dict[str, Any]:
    run = seen.run
    return {
        "name": run.name,
        "state": seen.state,
        "host": run.host,
        "pid": run.pid,
        "started": _iso(run.started),
        "last_sign": _iso(run.last_sign),
        "elapsed_seconds": round(seen.elapsed, 1),
        "seconds_left": round(seen.left, 1) if seen.state == "running" else None,
        "seconds_left_is_all": seen.left_is_all,
        "jobs": {"total": run.total, "done": run.count("done"), "failed": run.count("failed")},
        "done": rules_of(run.jobs, "done"),
        "running": [_job(job, seen) for job in seen.running],
        "failed": [{"job": job.title, "log": str(job.log)} for job in run.jobs if job.state == "failed"],
        "waiting": run.waiting,
    }


def _job(job: Job, seen: Snapshot) -> dict[str, Any]:
    step = seen.steps.get(job.title)
    return {
        "rule": job.rule,
        "what": job.what,
        "since": _iso(job.started),
        "log": str(job.log),
        "unit": step.unit if step else None,
        "done": step.done if step else None,
        "total": step.total if step else None,
        "seconds_left": step.seconds_left if step else None,
        "figures": step.figures if step else {},
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
