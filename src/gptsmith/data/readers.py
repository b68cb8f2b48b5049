"""Rows of text out of CSV, TSV, JSON, JSON Lines, Parquet and plain-text files, a batch at a time.

A file is read whole or refused: nothing is guessed, skipped (but for blank lines) or replaced, and a
refusal names the file, the place and the remedy. What the texts mean is not looked at here.
"""

import codecs
import csv
import difflib
import io
import itertools
import json
import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.config.datasets import Format
from gptsmith.data.expansion import check_expansion
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.errors import UserError

BLOCK = 2**20
"""Bytes or characters: how much of a file is looked at, and about how much text becomes a batch of rows."""
BATCH_ROWS = 4096
MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit is 131,072: shorter than a long document
MAX_COLUMNS_LISTED = 20
MAX_NAME_CHARACTERS = 40
NAME_IT = "Name the right column in the dataset's settings."
NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and surrogates, which UTF-8 cannot hold
JSON_GAP = re.compile(r"[ \t\n\r]*")

# Their line feed is a byte that is part of no other character, so a file can be cut after any;
# and a text encoded again has as many bytes as it had in the file.
BYTEWISE_ENCODINGS = {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"}

Record = tuple[int, list[str]]
"""A row's number in the file, counted from 1, and its texts."""


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
            unit, records = "line", _read_delimited(path, format, columns, shard)
        case "json":
            unit, records = "entry", _read_json(path, format, columns, nested)
        case "jsonl":
            unit, records = "line", _read_json_lines(path, format, columns, shard, nested)
        case "parquet":
            unit, records = "row", _read_parquet(path, columns, shard, nested)
        case "text":
            unit, records = "line", _read_document(path, format, columns)
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
    entries: Iterable[tuple[int, Any]] = ()
    match format.type:
        case "csv" | "tsv":
            return format.columns or next((fields for _, fields in _csv_records(path, format, WHOLE)), [])
        case "parquet":
            try:
                return list(pq.read_schema(path).names)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, error, "cannot be read as Parquet") from error
        case "json":
            entries = _json_entries(path, format.encoding)
        case "jsonl":
            entries = _json_lines(path, format.encoding, WHOLE)
    keys: dict[str, None] = {}
    for number, entry in itertools.islice(entries, 1000):
        keys.update(dict.fromkeys(_as_object(entry, f"{path}, entry {number}", [])))
    return list(keys)


def _can_be_cut(format: Format) -> bool:  # noqa: A002
    match format.type:
        case "parquet":
            return True
        case "csv" | "tsv" if format.quoting == "minimal":
            return False  # whether a line end is inside quotation marks only shows from the beginning on
        case "csv" | "tsv" | "jsonl":
            return _codec(format.encoding).name in BYTEWISE_ENCODINGS
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


def _read_delimited(path: Path, format: Format, columns: list[str], shard: Shard) -> Iterator[Record]:  # noqa: A002
    records = _csv_records(path, format, shard)
    if format.columns is None:
        # The first record of the first shard that has any: blank lines may come before it.
        for number in range(shard.total):
            if header := next(_csv_records(path, format, Shard(number, shard.total)), None):
                break
        if header is None or shard.number < number:
            return
        records = itertools.islice(records, int(shard.number == number), None)
        header_line, names = header
        where, remedy = f"{path}, line {header_line}", f"{NAME_IT} If the file has no header line, list format.columns."
        if len(names) == 1:
            for other in ";\t,|":
                if other != _delimiter(format) and other in names[0]:
                    remedy = f"The line contains {other!r}: set format.delimiter to it."
    else:
        names, where, remedy = format.columns, f"{path}, format.columns", "Add it there."
    for column in columns:
        if column not in names:
            raise _missing_column(where, column, names, remedy)
        if names.count(column) > 1:
            raise UserError(f"{where}: {names.count(column)} columns are named {column!r}. Rename all but one.")
    positions = [names.index(column) for column in columns]
    for line, fields in records:
        if len(fields) != len(names):
            remedy = "Mend the line."
            if len(fields) > len(names) and format.quoting == "minimal":
                remedy = f"A field that contains {_delimiter(format)!r} has to stand in quotation marks."
            expected = f"{len(names)} ({_listed(names)})"
            raise UserError(f"{path}, line {line}: fields found: {len(fields)}, expected: {expected}. {remedy}")
        yield line, [fields[position] for position in positions]


def _delimiter(format: Format) -> str:  # noqa: A002
    return format.delimiter or ("\t" if format.type == "tsv" else ",")


def _csv_records(path: Path, format: Format, shard: Shard) -> Iterator[Record]:  # noqa: A002
    """Yield each record's fields with the number of its first line; blank lines are passed over."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    # Not strict, a quotation mark that is never closed would swallow the rows up to the next one.
    reader = csv.reader(
        _lines(path, format.encoding, "", shard),
        delimiter=_delimiter(format),
        quoting=csv.QUOTE_NONE if format.quoting == "none" else csv.QUOTE_MINIMAL,
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


def _read_json(path: Path, format: Format, columns: list[str], nested: Collection[str]) -> Iterator[Record]:  # noqa: A002
    _check_keys(path, "entry", _json_entries(path, format.encoding), columns)
    return _rows_of_objects(path, "entry", _json_entries(path, format.encoding), columns, nested)


def _json_entries(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a list with their numbers, holding little more than the one that is read."""
    with _opened(path, encoding, newline="") as file:
        text, position, mark = file.read(BLOCK).removeprefix("\ufeff"), 0, "["
        for number in itertools.count(1):
            while (found := _json_entry(path, text, position, mark)) is None:
                more = file.read(max(BLOCK, len(text) - position))
                text, position = text[position:] + more, 0
                if not more:
                    break
            if found is None:
                break
            entry, position = found
            mark = ","
            yield number, entry
    # What is left is the end of the list, or else something that the parser of the whole has a word for.
    if mark == "[" or text.strip(" \t\n\r") != "]":
        _parse_list(path, encoding)


def _json_entry(path: Path, text: str, position: int, mark: str) -> tuple[Any, int] | None:
    """The entry that follows `mark` and where it ends; None when `text` does not have all of it."""
    start = _after_gap(text, position)
    if not text.startswith(mark, start):
        return None
    try:
        entry, end = JSON.raw_decode(text, _after_gap(text, start + 1))
    except json.JSONDecodeError:
        return None
    except RecursionError as error:
        raise UserError(f"{path}: the JSON is nested too deeply; a list of flat objects is expected") from error
    return (entry, end) if end < len(text) else None  # more digits may follow


def _after_gap(text: str, position: int) -> int:
    gap = JSON_GAP.match(text, position)
    return gap.end() if gap else position


def _parse_list(path: Path, encoding: str) -> None:
    """Parse the whole file; raises UserError where it is not one list in JSON."""
    try:
        entries = JSON.decode(_whole_text(path, encoding))
    except json.JSONDecodeError as error:
        remedy = "Fetch or export it again."
        if error.msg == "Extra data":
            remedy = "If it has one object a line, set format.type: jsonl."
        raise UserError(f"{_json_place(path, error.lineno, error)}. {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{path}: the JSON is nested too deeply; a list of flat objects is expected") from error
    if not isinstance(entries, list):
        raise UserError(f"{path}: {_kind(entries)} where one list of objects is expected")


def _read_json_lines(
    path: Path,
    format: Format,  # noqa: A002
    columns: list[str],
    shard: Shard,
    nested: Collection[str],
) -> Iterator[Record]:
    _check_keys(path, "line", _json_lines(path, format.encoding, WHOLE), columns)
    return _rows_of_objects(path, "line", _json_lines(path, format.encoding, shard), columns, nested)


def _json_lines(path: Path, encoding: str, shard: Shard) -> Iterator[tuple[int, Any]]:
    remedy = ""
    for number, line in enumerate(_lines(path, encoding, "\n", shard), start=1):
        if not (text := line.strip()):
            continue
        if not remedy:
            is_list = text.startswith("[")
            remedy = "If the file is one list, set format.type: json." if is_list else "Mend the line."
        try:
            yield number, JSON.decode(line.removesuffix("\n"))
        except json.JSONDecodeError as error:
            raise UserError(f"{_json_place(path, number, error)}. {remedy}") from error
        except RecursionError as error:
            raise UserError(f"{path}, line {number}: the JSON is nested too deeply. {remedy}") from error


# Numbers keep the digits that the file has. NaN is how pandas writes a missing text.
JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)


def _json_place(path: Path, line: int, error: json.JSONDecodeError) -> str:
    return f"{path}, line {line}, column {error.colno}: not valid JSON ({error.msg})"


def _check_keys(path: Path, unit: str, entries: Iterable[tuple[int, Any]], columns: list[str]) -> None:
    """Raise UserError for a column that no entry has; reads as far as each has been seen: mostly one entry."""
    keys: dict[str, None] = {}  # in the order found
    number = 0
    for number, entry in entries:
        keys.update(dict.fromkeys(_as_object(entry, f"{path}, {unit} {number}", columns)))
        if keys.keys() >= set(columns):
            return
    for column in columns:
        if number and column not in keys:
            raise _missing_column(str(path), column, list(keys), NAME_IT)


def _rows_of_objects(
    path: Path, unit: str, entries: Iterable[tuple[int, Any]], columns: list[str], nested: Collection[str]
) -> Iterator[Record]:
    for number, entry in entries:
        place = f"{path}, {unit} {number}"
        found = _as_object(entry, place, columns)
        yield number, [_as_text(found.get(column), place, column, nested) for column in columns]


def _as_object(entry: Any, place: str, columns: list[str]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        keys = f" with the keys {_listed(columns)}" if columns else ""
        raise UserError(f"{place}: {_kind(entry)} where an object{keys} is expected")
    return entry


def _read_parquet(path: Path, columns: list[str], shard: Shard, nested: Collection[str]) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in columns:
                if column not in names:
                    raise _missing_column(str(path), column, names, NAME_IT)
            check_expansion(path, columns)
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            row_bytes = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
            batches = file.iter_batches(
                batch_size=max(1, min(BATCH_ROWS, int(BLOCK / max(row_bytes, 1)))),
                row_groups=list(shard.range_of(len(groups))),
                columns=columns,
            )
            row = 0
            for batch in batches:
                found = batch.to_pydict()
                for values in zip(*(found[column] for column in columns), strict=True):
                    row += 1
                    place = f"{path}, row {row}"
                    pairs = zip(values, columns, strict=True)
                    yield row, [_as_text(value, place, column, nested) for value, column in pairs]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error, "cannot be read as Parquet") from error


def _read_document(path: Path, format: Format, columns: list[str]) -> Iterator[Record]:  # noqa: A002
    if len(columns) != 1:
        raise UserError(f"{path}: format.type: text is one document and has no columns {_listed(columns)}")
    yield 1, [_whole_text(path, format.encoding)]


def _whole_text(path: Path, encoding: str) -> str:
    """The file's text without its byte-order mark; UserError when it is not text or there is none."""
    with _opened(path, encoding, newline="") as file:
        text = file.read().removeprefix("\ufeff")
    if "\0" in text:
        _refuse_text(path, encoding)
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def _lines(path: Path, encoding: str, newline: str, shard: Shard) -> Iterator[str]:
    """Yield the lines with their ends (`newline` as in `open`), without the byte-order mark.

    Raises UserError for what is no text, and when the whole file has only white space.
    """
    blank = True
    with _opened(path, encoding, newline) as file:
        start, end = (_line_start(file.buffer, cut, shard) for cut in (shard.number, shard.number + 1))
        file.seek(start)
        position = start
        for line in file:
            if "\0" in line:
                _refuse_text(path, encoding)
            if shard != WHOLE:
                if position >= end:
                    return
                position += len(line.encode(encoding))
            if blank:  # the mark is at the beginning of the first line
                line = line if start else line.removeprefix("\ufeff")
                blank = not line.strip()
            yield line
    if blank and shard == WHOLE:
        raise UserError(f"{path}: the file is empty")


def _line_start(file: Any, cut: int, shard: Shard) -> int:
    """Where the line begins that a file of `shard.total` equal parts has at or after the beginning of part `cut`."""
    if cut == 0:
        return 0
    size = file.seek(0, io.SEEK_END)
    if cut == shard.total:
        return size
    file.seek(max(size * cut // shard.total, 1) - 1)
    file.readline()
    return file.tell()


@contextmanager
def _opened(path: Path, encoding: str, newline: str) -> Iterator[io.TextIOWrapper]:
    _codec(encoding)
    try:
        with path.open("rb") as data, io.TextIOWrapper(data, encoding=encoding, newline=newline) as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error, "cannot be read") from error
    except UnicodeError:
        _refuse_text(path, encoding)


def _codec(encoding: str) -> codecs.CodecInfo:
    try:
        "".encode(encoding)  # refuses what is no encoding of texts, such as hex
        return codecs.lookup(encoding)
    except (LookupError, ValueError) as error:
        raise UserError(f"format.encoding: no text encoding is called {encoding!r}; try utf-8 or cp1252") from error


def _refuse_text(path: Path, encoding: str) -> NoReturn:
    """Look for what is not text in the file, and raise UserError with its place."""
    decoder = _codec(encoding).incrementaldecoder()
    line, offset = 1, 0
    with path.open("rb") as file:
        data = file.read(BLOCK)
        if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            remedy = "It begins as UTF-16 does (Excel's Unicode Text): set format.encoding: utf-16."
        else:
            remedy = "Set format.encoding; Excel on Windows often writes cp1252, or utf-16-le."
        while True:
            waiting, state = decoder.getstate()
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                decoder.setstate((b"", state))
                with suppress(UnicodeError):  # UTF-16 without its mark, of which no lines can be counted
                    line += decoder.decode(error.object[: error.start]).count("\n")
                place = f"{path}, line {line}, byte {offset - len(waiting) + error.start}"
                raise UserError(f"{place}: not valid {encoding} ({error.reason}).\n{remedy}") from error
            except UnicodeError as error:
                raise UserError(f"{path}: not valid {encoding} ({error}).\n{remedy}") from error
            if "\0" in text:
                line += text.count("\n", 0, text.index("\0"))
                raise UserError(
                    f"{path}, line {line}: a NUL character, so this is not {encoding} text.\n{remedy} Or remove it."
                )
            if not data:
                raise UserError(f"{path}: changed while it was read. Run again.")
            line += text.count("\n")
            offset += len(data)
            data = file.read(BLOCK)


def _unreadable(path: Path, error: Exception, otherwise: str) -> UserError:
    match error:
        case FileNotFoundError():
            return UserError(f"{path}: no such file")
        case IsADirectoryError():
            return UserError(f"{path}: a folder where a file is expected")
        case OSError(strerror=str(reason)):
            return UserError(f"{path}: {otherwise} ({reason})")
    return UserError(f"{path}: {otherwise} ({str(error).splitlines()[0]})")


def _as_text(value: Any, place: str, column: str, nested: Collection[str]) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if column in nested and isinstance(value, list | dict):
        # What JSON has no word for (dates, bytes) comes from Parquet only, and is looked at by nobody.
        return json.dumps(value, ensure_ascii=False, default=str)
    raise UserError(f"{place}, column {column!r}: {_kind(value)} where text is expected")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a single value", bool: "a single value", type(None): "null"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _missing_column(where: str, column: str, found: list[str], remedy: str) -> UserError:
    by_lower = {name.strip().lower(): name for name in found}
    close = difflib.get_close_matches(column.strip().lower(), by_lower, n=1, cutoff=0.7)
    nearest = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    none = " Instructions without an input have `input: null`." if column == "input" else ""
    return UserError(f"{where}: no column {column!r}, only {_listed(found)}.{nearest}\n{remedy}{none}")


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > MAX_COLUMNS_LISTED else ""
    return ", ".join(repr(name[:MAX_NAME_CHARACTERS]) for name in names[:MAX_COLUMNS_LISTED]) + more
