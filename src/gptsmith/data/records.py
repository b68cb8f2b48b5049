"""What the readers of all kinds of files share: values as texts, and the words for what is not as it should be."""

import difflib
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gptsmith.errors import UserError

Record = tuple[int, list[str]]
"""A row's number in the file, counted from 1, and its texts."""

BLOCK = 2**20
"""Bytes or characters: how much of a file is looked at, and about how much text becomes a batch of rows."""
BATCH_ROWS = 4096
MAX_COLUMNS_LISTED = 20
MAX_NAME_CHARACTERS = 40
NAME_IT = "Name the right column in the dataset's settings."


def as_text(value: Any, place: str, column: str, nested: Collection[str]) -> str:
    """A value of JSON or Parquet as text. Raises UserError for lists and objects, but in the columns `nested`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if column in nested and isinstance(value, list | dict):
        # What JSON has no word for (dates, bytes) comes from Parquet only, and is looked at by nobody.
        return json.dumps(value, ensure_ascii=False, default=str)
    raise UserError(f"{place}, column {column!r}: {kind_of(value)} where text is expected")


def kind_of(value: Any) -> str:
    """What a value is, for a sentence."""
    names = {dict: "an object", list: "a list", str: "a single value", bool: "a single value", type(None): "null"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def missing_column(where: str, column: str, found: list[str], remedy: str) -> UserError:
    by_lower = {name.strip().lower(): name for name in found}
    close = difflib.get_close_matches(column.strip().lower(), by_lower, n=1, cutoff=0.7)
    nearest = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    none = " Instructions without an input have `input: null`." if column == "input" else ""
    return UserError(f"{where}: no column {column!r}, only {listed(found)}.{nearest}\n{remedy}{none}")


def listed(names: list[str]) -> str:
    more = ", ..." if len(names) > MAX_COLUMNS_LISTED else ""
    return ", ".join(repr(name[:MAX_NAME_CHARACTERS]) for name in names[:MAX_COLUMNS_LISTED]) + more


def unreadable(path: Path, error: Exception, otherwise: str) -> UserError:
    """The UserError to raise for an error met while reading; `otherwise` says what went wrong in general."""
    match error:
        case FileNotFoundError():
            return UserError(f"{path}: no such file")
        case IsADirectoryError():
            return UserError(f"{path}: a folder where a file is expected")
        case OSError(strerror=str(reason)):
            return UserError(f"{path}: {otherwise} ({reason})")
    return UserError(f"{path}: {otherwise} ({str(error).splitlines()[0]})")
