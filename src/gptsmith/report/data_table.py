"""Tables that may be long (every prediction, every response): rows as JSON inside the page, shown by report.js.

Without JavaScript the page shows the first FIRST_ROWS of them as an ordinary table. What the page shows of a
text is decided here, by the rules of gptsmith.report.text; report.js only ever sets it as text.
"""

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from markupsafe import Markup

from gptsmith.report.text import plain

MOST_ROWS = 10_000
MOST_CHARACTERS = 8_000_000  # of all texts of a table together: the size of the page
LONGEST_TEXT = 4_000  # characters
PREVIEW = 280  # characters of a text that show at once,
PREVIEW_LINES = 6  # and lines
FIRST_ROWS = 50


@dataclass(frozen=True)
class Column:
    """`text` is free text, `label` one of few values (the reader can filter by it), `number` a number or None, shown
    with so many digits after the point."""

    name: str
    kind: Literal["text", "label", "number"]
    digits: int = 3


@dataclass(frozen=True)
class DataTable:
    """Rows in the order in which they are first shown. `name` is an id that nothing else on the page has;
    `source` says where all rows are, for a table that is too long for the page."""

    name: str
    caption: str
    columns: list[Column]
    rows: list[list[Any]]
    source: str = ""

    def heads(self) -> list[list[str | int]]:
        return [[plain(column.name), column.kind, column.digits] for column in self.columns]

    def shown(self) -> list[list[Any]]:
        """The rows on the page, as they are shown."""
        rows = [
            [_cell(value, column) for value, column in zip(row, self.columns, strict=True)]
            for row in self.rows[:MOST_ROWS]
        ]
        characters = accumulate(sum(len(cell) for cell in row if isinstance(cell, str)) for row in rows)
        return [row for row, so_far in zip(rows, characters, strict=True) if so_far <= MOST_CHARACTERS]


def _cell(value: Any, column: Column) -> Any:
    if column.kind == "number":
        return None if value is None or value != value else float(f"{value:.6g}") if isinstance(value, float) else value
    text = str(value)
    left_out = len(text) - LONGEST_TEXT
    return plain(text, LONGEST_TEXT) + (f" ⟨{left_out:,} more characters⟩" if left_out > 0 else "")


def preview(text: str) -> str | None:
    """The beginning of a long text; None for one that is shown whole. `preview` of report.js does the same."""
    lines = text.split("\n")
    start = "\n".join(lines[:PREVIEW_LINES])[:PREVIEW]
    return start if len(text) > len(start) + 80 or len(lines) > PREVIEW_LINES + 1 else None


def script_json(value: Any) -> Markup:
    """`value` as JSON that nothing inside a script element can end: no `<`, `>` or `&`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 (holds no character that HTML gives a meaning)
