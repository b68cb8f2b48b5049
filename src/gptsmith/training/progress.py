"""How far a long computation is: a bar on a terminal, otherwise a line every few seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gptsmith.progress_line import Step
from gptsmith.training.distributed import rank

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_UPDATES = 0.1

Advance = Callable[[int, Callable[[], str]], None]


@contextlib.contextmanager
def progress(title: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Yield `advance(done, detail)`, to be called with the number of units done so far; `done` were before.
    Of several processes the first shows them.

    What `detail` returns is shown beside it; it is called only now and then, so it may take its time.
    """
    if rank() != 0:
        yield lambda *_: None
        return
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        detail_columns = (TextColumn("{task.fields[detail]}"), TimeRemainingColumn())
        with Progress(*columns, *detail_columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total, completed=done, detail="")
            yield _sometimes(
                SECONDS_BETWEEN_UPDATES, total, lambda done, detail: bar.update(task, completed=done, detail=detail)
            )
        return
    started = time.monotonic()

    def show(now_done: int, detail: str) -> None:
        left = (time.monotonic() - started) / max(now_done - done, 1) * (total - now_done)
        print(Step(title, unit, now_done, total, detail, round(left)), file=sys.stderr)

    yield _sometimes(SECONDS_BETWEEN_LINES, total, show)


def _sometimes(seconds: float, total: int, show: Callable[[int, str], None]) -> Advance:
    """`show` every so many seconds, and at the end."""
    shown = time.monotonic()

    def advance(done: int, detail: Callable[[], str]) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= seconds or done == total:
            shown = now
            show(done, detail())

    return advance
