"""`gptsmith progress`: how far the runs in this folder are, live on a terminal, otherwise as lines."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptsmith.cli.terminal import printable_line
from gptsmith.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gptsmith.monitoring.snapshot import Snapshot

EXAMPLES = """
\b
Examples:
  gptsmith progress
  gptsmith progress config/gpt2-small.yaml
  gptsmith progress --json
"""
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 10.0
"""About a job that only goes on, where there is no terminal."""


def progress(
    config: Annotated[
        Path | None, typer.Argument(help="Only the run of this config. Without it: all that go on, or the last one.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Say it once and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Once, as JSON.")] = False,
) -> None:
    """Show how far a run of Snakemake in this folder is; call it in a second terminal.

    Stages done, running and waiting; step, loss and speed of what trains; roughly the time left. Ctrl-C leaves the
    view, not the run.
    """
    # Only this command needs them.
    from rich.console import Console

    from gptsmith.monitoring.snapshot import as_json as json_of

    name = None if config is None else _name_of(config)
    seen = next(_looks(name))
    if as_json:
        print(json.dumps({"runs": [json_of(one) for one in seen]}, indent=2, ensure_ascii=False))
        return
    if not any(one.state == "running" for one in seen):
        print("nothing is running in this folder" if name is None else f"{name} is not running")
        print(*(line for one in seen for line in _ended(one)), sep="\n", end="\n" if seen else "")
        return
    console = Console()
    try:
        if once:
            print(*(line for one in seen for line in _lines(one)), sep="\n")
        elif console.is_terminal and not console.is_dumb_terminal and not console.no_color:
            _watch_live(console, name)
        else:
            _watch_lines(name)
    except KeyboardInterrupt:
        sys.exit(0)


def _name_of(config: Path) -> str:
    import yaml

    from gptsmith.config.syntax import check_syntax

    check_syntax(config)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
        raise UserError(f"{config}: no `name:`, so not a config of gptsmith")
    return settings["name"]


def _lines(seen: "Snapshot") -> Iterator[str]:
    from gptsmith.monitoring.snapshot import counted, headline, of_job, rules_of, short_title

    yield headline(seen)
    if done := rules_of(seen.run.jobs, "done"):
        yield f"  done:    {counted(done)}"
    for job in seen.running:
        yield printable_line(f"  running: {short_title(job, seen.run)}: {of_job(job, seen)}")
    yield from _failed(seen)
    if waiting := seen.run.waiting:
        yield f"  waiting: {counted(waiting)}"


def _failed(seen: "Snapshot") -> Iterator[str]:
    for job in seen.run.jobs:
        if job.state == "failed":
            yield printable_line(f"  failed:  {job.title}: see {job.log}")


def _ended(seen: "Snapshot") -> Iterator[str]:
    from gptsmith.monitoring.snapshot import headline

    yield f"last run: {headline(seen)}"
    yield from _failed(seen)


def _watch_lines(name: str | None) -> None:
    """A line when something changes, until the runs end."""
    from gptsmith.monitoring.snapshot import headline, of_job, short_title

    runs: set[tuple[str, float]] = set()
    states: dict[tuple[str, str], str] = {}
    shown: dict[tuple[str, str], float] = {}
    for seen in _looks(name):
        now = time.monotonic()
        for one in seen:
            run = one.run
            if (run.name, run.started) not in runs:
                runs.add((run.name, run.started))
                states |= {(run.name, job.title): job.state for job in run.jobs}
                shown |= {(run.name, job.title): now for job in run.jobs}
                print(*_lines(one), sep="\n", flush=True)
            for job in run.jobs:
                key = run.name, job.title
                if states.get(key) != job.state:
                    states[key], shown[key] = job.state, now
                    word = "started" if job.state == "running" else job.state
                    _say(f"{short_title(job, run)}: {word} ({run.count('done')} of {run.total} jobs done)")
                elif job.title in one.steps and now - shown[key] >= SECONDS_BETWEEN_LINES:
                    shown[key] = now
                    _say(f"{short_title(job, run)}: {of_job(job, one)}")
            if one.state != "running":
                _say(headline(one))


def _say(line: str) -> None:
    print(printable_line(line), flush=True)


def _looks(name: str | None) -> "Iterator[list[Snapshot]]":
    """What is to be seen now and then of the run of this name, or of all: those that go on, after them those that have
    ended since the look before; of neither, the last one. The last time when nothing goes on any more."""
    from gptsmith.monitoring.runs import read_runs
    from gptsmith.monitoring.snapshot import snapshot

    followed: set[tuple[str, float]] = set()
    while True:
        every = [snapshot(run) for run in read_runs() if name in (None, run.name)]
        going = [one for one in every if one.state == "running"]
        ended = [one for one in every if one.state != "running" and (one.run.name, one.run.started) in followed]
        yield going + ended or every[-1:]
        if not going:
            return
        followed = {(one.run.name, one.run.started) for one in going}
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _watch_live(console: object, name: str | None) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    assert isinstance(console, Console)
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="ellipsis") as live:
        for seen in _looks(name):
            going = [one for one in seen if one.state == "running"] or seen
            # The end of a run stays above those that still go on.
            for ended in seen[len(going) :]:
                console.print(_drawn(ended))
            live.update(Group(*map(_drawn, going)), refresh=True)


def _drawn(seen: "Snapshot") -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from gptsmith.monitoring.snapshot import counted, headline, of_job, rules_of, short_title

    run = seen.run
    jobs = Table.grid(padding=(0, 1, 0, 0))
    jobs.add_column(no_wrap=True)
    jobs.add_column(width=12)
    jobs.add_column()
    for job in seen.running:
        step = seen.steps.get(job.title)
        bar = ProgressBar(total=step.total, completed=step.done, width=12) if step else Text("")
        jobs.add_row(printable_line(short_title(job, run)), bar, Text(printable_line(of_job(job, seen))))
    rest = Table.grid(padding=(0, 1, 0, 0))
    for word, rules in (("done", rules_of(run.jobs, "done")), ("waiting", run.waiting)):
        if rules:
            rest.add_row(Text(f"{word:7}", style="dim"), Text(counted(rules), style="dim"))
    failed = [Text(line, style="red") for line in _failed(seen)]
    total = Table.grid()
    total.add_row(ProgressBar(total=max(1, run.total), completed=run.count("done"), width=40))
    return Group(Text(headline(seen), style="bold"), total, jobs, *failed, rest)
