"""Rows of text out of CSV, TSV, JSON, JSON Lines, Parquet and plain-text files, a batch at a time.

A file is read whole or refused: nothing is guessed, skipped (but for blank lines) or replaced, and a
refusal names the file, the place and the remedy. What the texts mean is not looked at here.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gptsmith.config.datasets import Format
from gptsmith.data.delimited_text import delimited_column_names, read_delimited
from gptsmith.data.json_objects import json_keys, json_lines_keys, read_json, read_json_lines
from gptsmith.data.parquet_rows import parquet_column_names, read_parquet
from gptsmith.data.records import BATCH_ROWS, BLOCK, Record
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.data.text_files import BYTEWISE_ENCODINGS, read_document, text_codec
from gptsmith.errors import UserError

NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and surrogates, which UTF-8 cannot hold


@dataclass(frozen=True)
class Rows:
    """The wanted columns of some rows, and where in the file each row is."""

    path: Path
    columns: dict[str, list[str]]
    unit: str
    """What `numbers` count: "line" (a row's first one), "entry" or "row"."""
    numbers: list[int]
    """Counted from 1; of a shard, from where it begins."""

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """Where row number `row`, counted from 0, is: `spam.csv, line 17`."""
        return f"{self.path}, {self.unit} {self.numbers[row]}"

    def take(self, rows: list[int]) -> "Rows":
        """Those of the given numbers, counted from 0."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Rows(self.path, columns, self.unit, [self.numbers[row] for row in rows])


def read_rows(
    path: Path,
    format: Format,  # noqa: A002
    columns: list[str],
    shard: Shard = WHOLE,
    nested: Collection[str] = (),
) -> Iterator[Rows]:
    """Yield the rows in order, the wanted columns as text, in batches of about a megabyte or one longer row.

    Numbers and booleans of JSON and Parquet become their JSON text, in the columns `nested` lists and objects as
    well. Null, and a key that a JSON object lacks, become "". All shards, one after another, have the rows of the
    whole. What cannot be cut unread is all in the first: a list in JSON, CSV with quotation marks, a document, text
    that is not `BYTEWISE_ENCODINGS`.

    Raises UserError when the file cannot be read as `format` says, lacks a column, or holds no rows.
    """
    if not _can_be_cut(format):
        if shard.number > 0:
            return
        shard = WHOLE
    match format.type:
        case "csv" | "tsv":
            unit, records = "line", read_delimited(path, format, columns, shard)
        case "json":
            unit, records = "entry", read_json(path, format.encoding, columns, nested)
        case "jsonl":
            unit, records = "line", read_json_lines(path, format.encoding, columns, shard, nested)
        case "parquet":
            unit, records = "row", read_parquet(path, columns, shard, nested)
        case "text":
            unit, records = "line", read_document(path, format.encoding, columns)
    count = 0
    for batch in _batches(records):
        numbers, texts = zip(*batch, strict=True)
        values = map(list, zip(*texts, strict=True))
        rows = Rows(path, dict(zip(columns, values, strict=True)), unit, list(numbers))
        _check_characters(rows)
        yield rows
        count += len(rows)
    if not count and shard == WHOLE:
        raise UserError(f"{path}: the file holds no rows")


def read_column_names(path: Path, format: Format) -> list[str]:  # noqa: A002
    """The names in the file: of a header line, a schema, or the keys of the first thousand objects, in the order found.

    Raises UserError when the file cannot be read as `format` says; a document in plain text has no columns.
    """
    match format.type:
        case "csv" | "tsv":
            return delimited_column_names(path, format)
        case "json":
            return json_keys(path, format.encoding)
        case "jsonl":
            return json_lines_keys(path, format.encoding)
        case "parquet":
            return parquet_column_names(path)
    return []


def _can_be_cut(format: Format) -> bool:  # noqa: A002
    match format.type:
        case "parquet":
            return True
        case "csv" | "tsv" if format.quoting == "minimal":
            return False  # whether a line end is inside quotation marks only shows from the beginning on
        case "csv" | "tsv" | "jsonl":
            return text_codec(format.encoding).name in BYTEWISE_ENCODINGS
    return False


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch, size = list[Record](), 0
    for record in records:
        batch.append(record)
        size += sum(map(len, record[1]))
        if size >= BLOCK or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_characters(rows: Rows) -> None:
    for column, values in rows.columns.items():
        for row, value in enumerate(values):
            if not _is_text(value) and (found := NOT_TEXT.search(value)):
                what = f"a character that is not text (U+{ord(found[0]):04X})"
                raise UserError(f"{rows.place(row)}, column {column!r}: {what}. Remove it.")


def _is_text(value: str) -> bool:
    """Whether `NOT_TEXT` finds nothing, which takes it many times as long to say."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
