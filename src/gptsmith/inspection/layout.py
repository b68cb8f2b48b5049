"""How a file is laid out: its type, encoding, separator, quotation marks, header line."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptsmith.config.datasets import Format
from gptsmith.errors import UserError
from gptsmith.inspection.encoding import find_encoding

LOOKED_AT = 2**20
"""Characters of the beginning that separator and header line are told by."""
LONGEST_NAME = 64
"""Characters of a column's name; what is longer is a text."""
WEB_PAGE = 20
"""Characters that tell one."""

BINARY = {
    b"PK\x03\x04": "a zip archive or a workbook. Save the sheet as CSV, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save the sheet as CSV",
    **dict.fromkeys(
        (b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"), "compressed. Unpack it"
    ),
    b"%PDF": "a PDF. Save what it says as text",
}

Quoting = Literal["minimal", "none"]


def find_format(path: Path) -> Format:
    """The settings that the file is read with. A table without a header line gets names: column_1, column_2, ...

    Raises UserError for what is no file of rows.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: a folder where a file is expected") from error
    if not start:
        raise UserError(f"{path}: the file is empty")
    if start == b"PAR1":
        return Format(type="parquet")
    for magic, remedy in BINARY.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {remedy}.")
    encoding = find_encoding(path)
    text, is_whole = _beginning(path, encoding)
    encoding = encoding.removesuffix("-sig")  # readers skip the mark
    suffix = path.suffix.lower()
    first = text.lstrip()[:1]
    if text.lstrip()[:WEB_PAGE].lower().startswith(("<!doctype html", "<html")):
        raise UserError(f"{path}: a web page. Fetch the file itself.")
    if first == "{" and is_whole and (keys := _keys_of_one_object(text)) is not None:
        raise UserError(
            f"{path}: one JSON object (with {keys}) where a list of objects, or an object a line, is expected."
        )
    if first == "{" and _is_json_lines(text):
        return Format(type="jsonl", encoding=encoding)
    if suffix not in (".csv", ".tsv") and first in ("{", "["):
        return Format(type="json", encoding=encoding)
    best = _best_table(text, is_whole)
    if suffix not in (".csv", ".tsv", ".tab") and (best.width < 2 or best.agreement < 0.9):
        return Format(type="text", encoding=encoding)
    kind: Literal["csv", "tsv"] = "tsv" if best.delimiter == "\t" else "csv"
    return Format(
        type=kind,
        delimiter=best.delimiter if best.delimiter not in ",\t" else None,
        quoting=best.quoting,
        encoding=encoding,
        columns=None if _has_header(best.records) else [f"column_{n + 1}" for n in range(len(best.records[0]))],
    )


def _beginning(path: Path, encoding: str) -> tuple[str, bool]:
    """Whole lines of the file's beginning (or the one line it has), and whether they are all."""
    with path.open(encoding=encoding, newline="", errors="replace") as file:
        text, more = file.read(LOOKED_AT), file.read(1)
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return (text[: text.rfind("\n") + 1] or text, False) if more else (text, True)


def _is_json_lines(text: str) -> bool:
    """Of a text that begins with a brace. A line that goes on after what was looked at is an object, if anything."""
    line, end, _ = text.lstrip().partition("\n")
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return not end and len(text) >= LOOKED_AT


def _keys_of_one_object(text: str) -> str | None:
    """The keys, listed, where the text is one JSON object; else None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    names = [repr(key[:LONGEST_NAME]) for key in found]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


@dataclass(frozen=True)
class Table:
    """The rows that a text gives, read in one way."""

    delimiter: str
    quoting: Quoting
    records: list[list[str]]
    width: int
    """Fields of most rows."""
    agreement: float
    """Share of the rows that have as many."""


def _best_table(text: str, is_whole: bool) -> Table:
    """The way in which most rows are equally wide; of those the one with most columns, then that of the csv module."""
    ways: list[tuple[str, Quoting]] = [(mark, quoting) for mark in ",;\t|" for quoting in ("minimal", "none")]
    tables = [table for mark, quoting in ways if (table := _read_as(text, is_whole, mark, quoting)) is not None]
    return max(tables, key=lambda table: (table.width > 1, table.agreement, table.width, table.quoting == "minimal"))


def _read_as(text: str, is_whole: bool, delimiter: str, quoting: Quoting) -> Table | None:
    """None when the text cannot be read so."""
    csv.field_size_limit(2**31 - 1)
    marks: Literal[0, 3] = csv.QUOTE_MINIMAL if quoting == "minimal" else csv.QUOTE_NONE
    # Lines of the whole: a field in quotation marks may go over several.
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines, delimiter=delimiter, quoting=marks, strict=True)
    records: list[list[str]] = []
    ended = 0
    try:
        for record in reader:
            if record:
                records.append(record)
            ended = reader.line_num
    except csv.Error:
        # The end of what was looked at may be inside quotation marks; a mark that nobody closed is farther away.
        if is_whole or reader.line_num < len(lines) or len(lines) - ended > 100:
            return None
    if not records:
        return None
    width, count = Counter(map(len, records)).most_common(1)[0]
    return Table(delimiter, quoting, records, width, count / len(records))


def _has_header(records: Sequence[Sequence[str]]) -> bool:
    """Names are short, no numbers, and not among the values below them. One may be left out, as pandas
    does for its index."""
    names = [name.strip() for name in records[0]]
    below = [{record[column].strip() for record in records[1:] if column < len(record)} for column in range(len(names))]
    return (
        any(names)
        and names.count("") <= 1
        and all(len(name) <= LONGEST_NAME and not _is_number(name) for name in names)
        and not any(name and name in values for name, values in zip(names, below, strict=True))
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
