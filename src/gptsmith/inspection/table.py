"""What is in the columns of a file: kinds of values, classes and their counts, lengths, duplicates."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.config.datasets import Format
from gptsmith.data.cleaning import clean
from gptsmith.data.conversations import NAMES
from gptsmith.data.readers import Rows, read_column_names, read_rows
from gptsmith.errors import UserError
from gptsmith.inspection.layout import find_format

MOST_BYTES = 64 * 2**20
"""Of text that is looked at in all columns together."""
MOST_ROWS = 500_000
MOST_VALUES = 1000
"""Different values of a column that are counted."""
MOST_CLASSES = 100
LONGEST_CLASS = 100
"""Characters."""
EXAMPLES = 3

Kind = Literal["text", "category", "number", "messages", "nested", "empty"]


@dataclass(frozen=True, eq=False)
class Column:
    """The values of one column, without the white space around them."""

    name: str
    kind: Kind
    """`category`: few short values that repeat. `messages`: lists of `{role, content}`; `nested`: others, objects."""
    counts: dict[str, int] | None
    """How often each value occurs, the most frequent first; None where more than MOST_VALUES are different."""
    sizes: np.ndarray
    """(rows,) int64: bytes of each in UTF-8."""
    hashes: np.ndarray
    """(rows,) int64: equal for equal values."""
    examples: list[str]

    @property
    def n_empty(self) -> int:
        return int(np.count_nonzero(self.sizes == 0))


@dataclass(frozen=True)
class Table:
    """What looking at a file gave."""

    path: Path
    format: Format
    columns: dict[str, Column]
    unread: list[str]
    """Columns of a Parquet file that hold neither texts nor numbers."""
    rows: int
    """Looked at."""
    is_whole: bool
    """Whether these are all rows of the file."""
    all_rows: int
    """Rows of the file: estimated from its size where only its beginning was looked at."""

    def duplicates(self, columns: list[str]) -> int:
        """Rows that have the same in `columns` as an earlier one."""
        hashes = np.stack([self.columns[name].hashes for name in columns], axis=1)
        return self.rows - len(np.unique(hashes, axis=0))

    def counts_of_distinct(self, columns: list[str], column: str) -> dict[str, int]:
        """How often each value of `column` is in the rows that repeat no earlier one in `columns`."""
        hashes = np.stack([self.columns[name].hashes for name in columns], axis=1)
        _, first = np.unique(hashes, axis=0, return_index=True)
        found = Counter(self.columns[column].hashes[first].tolist())
        return {value: found[hash(value)] for value in self.columns[column].counts or {}}

    def sizes(self, columns: list[str]) -> np.ndarray:
        """(rows,) int64: bytes of all `columns` together."""
        return np.sum([self.columns[name].sizes for name in columns], axis=0)


def look_at(path: Path) -> Table:
    """Read a file, of a large one the beginning.

    Raises UserError when it is not a file of rows, or where a row is not as the others.
    """
    format_ = find_format(path)
    if format_.type == "text":
        raise UserError(f"{path}: plain text without columns, which can only be pretrained on (config.yaml shows how)")
    names = read_column_names(path, format_)
    if not names:
        raise UserError(f"{path}: the file holds no rows")
    if len(set(names)) < len(names):
        raise UserError(f"{path}: several columns have the same name ({', '.join(names)}). Rename all but one.")
    unread = _unreadable_columns(path) if format_.type == "parquet" else []
    names = [name for name in names if name not in unread]
    if not names:
        raise UserError(f"{path}: no column holds text")
    seen = {name: _Seen() for name in names}
    rows = n_bytes = 0
    is_whole = True
    for batch in read_rows(path, format_, names, nested=names):
        if rows >= MOST_ROWS or n_bytes >= MOST_BYTES:
            is_whole = False
            break
        n_bytes += _add(batch, seen)
        rows += len(batch)
    return Table(
        path=path,
        format=format_,
        columns={name: _column(name, found, format_) for name, found in seen.items()},
        unread=unread,
        rows=rows,
        is_whole=is_whole,
        all_rows=rows if is_whole else _all_rows(path, format_, rows, n_bytes),
    )


@dataclass
class _Seen:
    counts: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    all_numbers: bool = True
    all_messages: bool = True
    all_nested: bool = True


def _add(batch: Rows, seen: dict[str, _Seen]) -> int:
    """Add a batch to what was seen; returns its bytes."""
    n_bytes = 0
    for name, values in batch.columns.items():
        found = seen[name]
        for value in map(clean, values):
            found.sizes.append(len(value.encode()))
            n_bytes += found.sizes[-1]
            found.hashes.append(hash(value))
            if not value:
                continue
            if len(found.counts) <= MOST_VALUES:
                found.counts[value] += 1
            if len(found.examples) < EXAMPLES and value not in found.examples:
                found.examples.append(value)
            found.all_numbers = found.all_numbers and _is_number(value)
            found.all_messages = found.all_messages and is_messages(value)
            found.all_nested = found.all_nested and value[0] in "[{" and _is_nested(value)
    return n_bytes


def _column(name: str, seen: _Seen, format_: Format) -> Column:
    counts = dict(seen.counts.most_common()) if len(seen.counts) <= MOST_VALUES else None
    sizes = np.array(seen.sizes, dtype=np.int64)
    # In a table all is text, whatever it looks like.
    kind = _kind(seen, sizes, may_nest=format_.type not in ("csv", "tsv"))
    return Column(name, kind, counts, sizes, np.array(seen.hashes, dtype=np.int64), seen.examples)


def _kind(seen: _Seen, sizes: np.ndarray, *, may_nest: bool) -> Kind:
    filled = int(np.count_nonzero(sizes))
    if not filled:
        return "empty"
    if seen.all_messages:
        return "messages"
    if seen.all_nested and may_nest:
        return "nested"
    # Every class is in it several times, or else it is an identifier.
    few = len(seen.counts) <= min(MOST_CLASSES, max(2, filled // 4))
    if few and max(map(len, seen.counts)) <= LONGEST_CLASS:
        return "category"
    return "number" if seen.all_numbers else "text"


def is_messages(value: str) -> bool:
    """Whether it is JSON of `[{"role": ..., "content": ...}, ...]`, or with `from` and `value`."""
    if not value.startswith("["):
        return False
    try:
        turns = json.loads(value)
    except ValueError:
        return False
    return bool(turns) and all(
        isinstance(turn, dict) and all(key in turn or other in turn for key, other in NAMES) for turn in turns
    )


def _is_nested(value: str) -> bool:
    try:
        return isinstance(json.loads(value), list | dict)
    except ValueError:
        return False


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _unreadable_columns(path: Path) -> list[str]:
    kinds = pa.types
    texts_and_numbers = (kinds.is_string, kinds.is_large_string, kinds.is_boolean, kinds.is_integer, kinds.is_floating)
    nested = (kinds.is_list, kinds.is_large_list, kinds.is_struct)
    unread = []
    for column in pq.read_schema(path):
        kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
        if not any(is_so(kind) for is_so in (*texts_and_numbers, *nested)):
            unread.append(column.name)
    return unread


def _all_rows(path: Path, format_: Format, rows: int, n_bytes: int) -> int:
    if format_.type == "parquet":
        return int(pq.read_metadata(path).num_rows)
    return max(rows, round(path.stat().st_size / max(n_bytes, 1) * rows))
