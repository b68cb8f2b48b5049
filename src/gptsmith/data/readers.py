"""Rows of text out of CSV, TSV, JSON, JSON Lines, Parquet and plain-text files.

A file is read whole or refused: nothing is guessed, skipped (but for blank lines) or replaced, and a
refusal names the file, the place and the remedy. What the texts mean is not looked at here.
"""

import csv
import difflib
import io
import json
import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.config.datasets import Format
from gptsmith.data.expansion import check_expansion
from gptsmith.errors import UserError

MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit is 131,072: shorter than a long document
MAX_COLUMNS_LISTED = 20
MAX_NAME_CHARACTERS = 40
NAME_IT = "Name the right column in the dataset's settings."
NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and surrogates, which UTF-8 cannot hold


@dataclass(frozen=True)
class Rows:
    """The wanted columns of a file, and where in the file each row is."""

    path: Path
    columns: dict[str, list[str]]
    unit: str
    """What `numbers` count: "line" (a row's first one), "entry" or "row"."""
    numbers: list[int]
    """Counted from 1."""

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """Where row number `row`, counted from 0, is: `spam.csv, line 17`."""
        return f"{self.path}, {self.unit} {self.numbers[row]}"


def read_rows(path: Path, format: Format, columns: list[str]) -> Rows:  # noqa: A002 (the config's word)
    """Read the wanted columns as text.

    Numbers and booleans of JSON and Parquet become their JSON text. Null, and a key that a JSON object
    lacks, become "". Raises UserError when the file cannot be read as `format` says, lacks a column, or
    holds no rows.
    """
    match format.type:
        case "csv" | "tsv":
            rows = _read_delimited(path, format, columns)
        case "json":
            rows = _read_json(path, format, columns)
        case "jsonl":
            rows = _read_json_lines(path, format, columns)
        case "parquet":
            rows = _read_parquet(path, columns)
        case "text":
            rows = _read_document(path, format, columns)
    if not rows.numbers:
        raise UserError(f"{path}: the file holds no rows")
    for column, values in rows.columns.items():
        for row, value in enumerate(values):
            if found := NOT_TEXT.search(value):
                what = f"a character that is not text (U+{ord(found[0]):04X})"
                raise UserError(f"{rows.place(row)}, column {column!r}: {what}. Remove it.")
    return rows


def _read_delimited(path: Path, format: Format, columns: list[str]) -> Rows:  # noqa: A002
    text = _decoded(path, format.encoding)
    delimiter = format.delimiter or ("\t" if format.type == "tsv" else ",")
    records = _records(path, text, delimiter, format.quoting)
    if format.columns is None:
        header_line, names = next(records)
        where, remedy = f"{path}, line {header_line}", f"{NAME_IT} If the file has no header line, list format.columns."
        if len(names) == 1:
            for other in ";\t,|":
                if other != delimiter and other in names[0]:
                    remedy = f"The line contains {other!r}: set format.delimiter to it."
    else:
        names, where, remedy = format.columns, f"{path}, format.columns", "Add it there."
    for column in columns:
        if column not in names:
            raise _missing_column(where, column, names, remedy)
        if names.count(column) > 1:
            raise UserError(f"{where}: {names.count(column)} columns are named {column!r}. Rename all but one.")
    positions = {column: names.index(column) for column in columns}
    values: dict[str, list[str]] = {column: [] for column in columns}
    numbers = []
    for line, fields in records:
        if len(fields) != len(names):
            remedy = "Mend the line."
            if len(fields) > len(names) and format.quoting == "minimal":
                remedy = f"A field that contains {delimiter!r} has to stand in quotation marks."
            expected = f"{len(names)} ({_listed(names)})"
            raise UserError(f"{path}, line {line}: fields found: {len(fields)}, expected: {expected}. {remedy}")
        numbers.append(line)
        for column, position in positions.items():
            values[column].append(fields[position])
    return Rows(path, values, "line", numbers)


def _records(path: Path, text: str, delimiter: str, quoting: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's fields with the number of its first line; blank lines are passed over."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    # Not strict, a quotation mark that is never closed would swallow the rows up to the next one.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    first_line = 1
    try:
        for fields in reader:
            if fields:
                yield first_line, fields
            first_line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {first_line}: a quoted field of this row does not end as it should ({error}).\nClose it "
            "and double the marks inside it, or set format.quoting: none if quotation marks are ordinary characters."
        ) from error


def _read_json(path: Path, format: Format, columns: list[str]) -> Rows:  # noqa: A002
    text = _decoded(path, format.encoding)
    try:
        entries = _parsed_json(text)
    except json.JSONDecodeError as error:
        remedy = "Fetch or export it again."
        if error.msg == "Extra data":
            remedy = "If it has one object a line, set format.type: jsonl."
        raise UserError(f"{_json_place(path, error.lineno, error)}. {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{path}: the JSON is nested too deeply; a list of flat objects is expected") from error
    if not isinstance(entries, list):
        raise UserError(f"{path}: {_kind(entries)} where one list of objects is expected")
    return _rows_of_objects(path, "entry", enumerate(entries, start=1), columns)


def _read_json_lines(path: Path, format: Format, columns: list[str]) -> Rows:  # noqa: A002
    text = _decoded(path, format.encoding)
    remedy = "If the file is one list, set format.type: json." if text.lstrip().startswith("[") else "Mend the line."
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append((number, _parsed_json(line)))
        except json.JSONDecodeError as error:
            raise UserError(f"{_json_place(path, number, error)}. {remedy}") from error
        except RecursionError as error:
            raise UserError(f"{path}, line {number}: the JSON is nested too deeply. {remedy}") from error
    return _rows_of_objects(path, "line", entries, columns)


def _parsed_json(text: str) -> Any:
    # Numbers keep the digits that the file has. NaN is how pandas writes a missing text.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None)


def _json_place(path: Path, line: int, error: json.JSONDecodeError) -> str:
    return f"{path}, line {line}, column {error.colno}: not valid JSON ({error.msg})"


def _rows_of_objects(path: Path, unit: str, entries: Iterable[tuple[int, Any]], columns: list[str]) -> Rows:
    values: dict[str, list[str]] = {column: [] for column in columns}
    numbers = []
    keys: dict[str, None] = {}  # in the order found
    for number, entry in entries:
        place = f"{path}, {unit} {number}"
        if not isinstance(entry, dict):
            raise UserError(f"{place}: {_kind(entry)} where an object with the keys {_listed(columns)} is expected")
        keys.update(dict.fromkeys(entry))
        numbers.append(number)
        for column in columns:
            values[column].append(_as_text(entry.get(column), f"{place}, column {column!r}"))
    for column in columns:
        if numbers and column not in keys:
            raise _missing_column(str(path), column, list(keys), NAME_IT)
    return Rows(path, values, unit, numbers)


def _read_parquet(path: Path, columns: list[str]) -> Rows:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in columns:
                if column not in names:
                    raise _missing_column(str(path), column, names, NAME_IT)
            check_expansion(path, columns)
            found = file.read(columns=columns).to_pydict()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error, "cannot be read as Parquet") from error
    values = {
        column: [_as_text(value, f"{path}, row {row}, column {column!r}") for row, value in enumerate(found[column], 1)]
        for column in columns
    }
    return Rows(path, values, "row", list(range(1, len(values[columns[0]]) + 1)))


def _read_document(path: Path, format: Format, columns: list[str]) -> Rows:  # noqa: A002
    if len(columns) != 1:
        raise UserError(f"{path}: format.type: text is one document and has no columns {_listed(columns)}")
    return Rows(path, {columns[0]: [_decoded(path, format.encoding)]}, "line", [1])


def _decoded(path: Path, encoding: str) -> str:
    """The file's text without its byte-order mark; UserError when it is not text or there is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error, "cannot be read") from error
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        remedy = "It begins as UTF-16 does (Excel's Unicode Text): set format.encoding: utf-16."
    else:
        remedy = "Set format.encoding; Excel on Windows often writes cp1252, or utf-16-le."
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise UserError(f"format.encoding: no text encoding is called {encoding!r}; try utf-8 or cp1252") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, errors="replace").count("\n") + 1
        place = f"{path}, line {line}, byte {error.start}"
        raise UserError(f"{place}: not valid {encoding} ({error.reason}).\n{remedy}") from error
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(
            f"{path}, line {line}: a NUL character, so this is not {encoding} text.\n{remedy} Or remove it."
        )
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def _unreadable(path: Path, error: Exception, otherwise: str) -> UserError:
    match error:
        case FileNotFoundError():
            return UserError(f"{path}: no such file")
        case IsADirectoryError():
            return UserError(f"{path}: a folder where a file is expected")
        case OSError(strerror=str(reason)):
            return UserError(f"{path}: {otherwise} ({reason})")
    return UserError(f"{path}: {otherwise} ({str(error).splitlines()[0]})")


def _as_text(value: Any, place: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UserError(f"{place}: {_kind(value)} where text is expected")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a single value", bool: "a single value", type(None): "null"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _missing_column(where: str, column: str, found: list[str], remedy: str) -> UserError:
    by_lower = {name.strip().lower(): name for name in found}
    close = difflib.get_close_matches(column.strip().lower(), by_lower, n=1, cutoff=0.7)
    nearest = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    return UserError(f"{where}: no column {column!r}, only {_listed(found)}.{nearest}\n{remedy}")


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > MAX_COLUMNS_LISTED else ""
    return ", ".join(repr(name[:MAX_NAME_CHARACTERS]) for name in names[:MAX_COLUMNS_LISTED]) + more
