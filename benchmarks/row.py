"""A line of the table: one task, ours against another way of doing it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from gptsmith.files import write_json


@dataclass(frozen=True)
class Row:
    """What doing a task took on each side."""

    task: str
    ours_seconds: float
    peer: str
    """Who else, or what limit."""
    peer_seconds: float
    floor_seconds: float | None
    """The least that this machine needs for the work (see benchmarks.floors); None where it was not counted."""
    goal: float | None
    """The ratio wanted."""
    extrapolated: bool
    """Whether the seconds are those of a part, carried over to the whole."""
    notes: str = ""

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.peer_seconds / self.ours_seconds


def write_rows(rows: Iterable[Row], path: Path) -> None:
    write_json(path, [_as_json(row) for row in rows])


def _as_json(row: Row) -> dict[str, Any]:
    first = ("task", "ours_seconds", "peer", "peer_seconds")
    fields = asdict(row)
    return {name: fields.pop(name) for name in first} | {"ratio": row.ratio} | fields


def table_of(rows: Iterable[Row]) -> Table:
    table = Table("task", "ours", "peer", "peer takes", "ratio", "goal", "floor", "x floor", caption="~ extrapolated")
    for column in table.columns[3:]:
        column.justify = "right"
    table.columns[1].justify = "right"
    for row in rows:
        about = "~" if row.extrapolated else ""
        reached = row.goal is None or row.ratio >= row.goal
        table.add_row(
            row.task,
            f"{about}{_seconds(row.ours_seconds)}",
            row.peer,
            f"{about}{_seconds(row.peer_seconds)}",
            f"[{'green' if reached else 'red'}]{row.ratio:.2f}",
            "" if row.goal is None else f"{row.goal:g}",
            "" if row.floor_seconds is None else _seconds(row.floor_seconds),
            "" if row.floor_seconds is None else f"{row.ours_seconds / row.floor_seconds:.2f}",
        )
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
