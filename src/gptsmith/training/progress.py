"""How far a long computation is: a bar on a terminal, otherwise a line every few seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0

Advance = Callable[[int, str], None]


@contextlib.contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Yield `advance(done, detail)`, to be called with the number of units done so far."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        detail_columns = (TextColumn("{task.fields[detail]}"), TimeRemainingColumn())
        with Progress(*columns, *detail_columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total, detail="")
            yield lambda done, detail: bar.update(task, completed=done, detail=detail)
        return
    started = shown = time.monotonic()

    def advance(done: int, detail: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < SECONDS_BETWEEN_LINES and done < total:
            return
        shown = now
        left = (now - started) / max(done, 1) * (total - done)
        print(f"{title}: {unit} {done}/{total}, {detail}, {_clock(left)} left", file=sys.stderr)

    yield advance


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
