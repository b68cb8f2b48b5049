"""Rows that are objects: of JSON, which is one list of them, and of JSON Lines, one a line."""

import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from gptsmith.data.records import BLOCK, NAME_IT, Record, as_text, kind_of, listed, missing_column
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.data.text_files import opened_text, text_lines, whole_text
from gptsmith.errors import UserError

# Numbers keep the digits that the file has. NaN is how pandas writes a missing text.
JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)
JSON_GAP = re.compile(r"[ \t\n\r]*")


def read_json(path: Path, encoding: str, columns: list[str], nested: Collection[str]) -> Iterator[Record]:
    """Yield the wanted values as `gptsmith.data.readers.read_rows` does, and raise as it does, like all of these."""
    _check_keys(path, "entry", _json_entries(path, encoding), columns)
    return _rows_of_objects(path, "entry", _json_entries(path, encoding), columns, nested)


def read_json_lines(
    path: Path, encoding: str, columns: list[str], shard: Shard, nested: Collection[str]
) -> Iterator[Record]:
    _check_keys(path, "line", _json_lines(path, encoding, WHOLE), columns)
    return _rows_of_objects(path, "line", _json_lines(path, encoding, shard), columns, nested)


def json_keys(path: Path, encoding: str) -> list[str]:
    return _first_keys(path, _json_entries(path, encoding))


def json_lines_keys(path: Path, encoding: str) -> list[str]:
    return _first_keys(path, _json_lines(path, encoding, WHOLE))


def _first_keys(path: Path, entries: Iterable[tuple[int, Any]]) -> list[str]:
    """Of the first thousand objects, in the order found."""
    keys: dict[str, None] = {}
    for number, entry in itertools.islice(entries, 1000):
        keys.update(dict.fromkeys(_as_object(entry, f"{path}, entry {number}", [])))
    return list(keys)


def _json_entries(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a list with their numbers, holding little more than the one that is read."""
    with opened_text(path, encoding, newline="") as file:
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
        entries = JSON.decode(whole_text(path, encoding))
    except json.JSONDecodeError as error:
        remedy = "Fetch or export it again."
        if error.msg == "Extra data":
            remedy = "If it has one object a line, set format.type: jsonl."
        raise UserError(f"{_json_place(path, error.lineno, error)}. {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{path}: the JSON is nested too deeply; a list of flat objects is expected") from error
    if not isinstance(entries, list):
        raise UserError(f"{path}: {kind_of(entries)} where one list of objects is expected")


def _json_lines(path: Path, encoding: str, shard: Shard) -> Iterator[tuple[int, Any]]:
    remedy = ""
    for number, line in enumerate(text_lines(path, encoding, "\n", shard), start=1):
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
            raise missing_column(str(path), column, list(keys), NAME_IT)


def _rows_of_objects(
    path: Path, unit: str, entries: Iterable[tuple[int, Any]], columns: list[str], nested: Collection[str]
) -> Iterator[Record]:
    for number, entry in entries:
        place = f"{path}, {unit} {number}"
        found = _as_object(entry, place, columns)
        yield number, [as_text(found.get(column), place, column, nested) for column in columns]


def _as_object(entry: Any, place: str, columns: list[str]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        keys = f" with the keys {listed(columns)}" if columns else ""
        raise UserError(f"{place}: {kind_of(entry)} where an object{keys} is expected")
    return entry
