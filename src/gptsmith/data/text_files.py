"""Files of text, as one document or line by line, in any encoding."""

import codecs
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from gptsmith.data.records import BLOCK, Record, listed, unreadable
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.errors import UserError

# Their line feed is a byte that is part of no other character, so a file can be cut after any;
# and a text encoded again has as many bytes as it had in the file.
BYTEWISE_ENCODINGS = {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"}


def read_document(path: Path, encoding: str, columns: list[str]) -> Iterator[Record]:
    """The whole file as one row, whose only column may have any name; raises as `read_rows` does."""
    if len(columns) != 1:
        raise UserError(f"{path}: format.type: text is one document and has no columns {listed(columns)}")
    yield 1, [whole_text(path, encoding)]


def whole_text(path: Path, encoding: str) -> str:
    """The file's text without its byte-order mark; UserError when it is not text or there is none."""
    with opened_text(path, encoding, newline="") as file:
        text = file.read().removeprefix("\ufeff")
    if "\0" in text:
        _refuse_text(path, encoding)
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def text_lines(path: Path, encoding: str, newline: str, shard: Shard) -> Iterator[str]:
    """Yield the lines with their ends (`newline` as in `open`), without the byte-order mark.

    Raises UserError for what is no text, and when the whole file has only white space.
    """
    blank = True
    with opened_text(path, encoding, newline) as file:
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
def opened_text(path: Path, encoding: str, newline: str) -> Iterator[io.TextIOWrapper]:
    """A file of text; UserError for what is none, also while it is read."""
    text_codec(encoding)
    try:
        with path.open("rb") as data, io.TextIOWrapper(data, encoding=encoding, newline=newline) as file:
            yield file
    except OSError as error:
        raise unreadable(path, error, "cannot be read") from error
    except UnicodeError:
        _refuse_text(path, encoding)


def text_codec(encoding: str) -> codecs.CodecInfo:
    """Raises UserError for the name of no encoding of texts."""
    try:
        "".encode(encoding)  # refuses what is no encoding of texts, such as hex
        return codecs.lookup(encoding)
    except (LookupError, ValueError) as error:
        raise UserError(f"format.encoding: no text encoding is called {encoding!r}; try utf-8 or cp1252") from error


def _refuse_text(path: Path, encoding: str) -> NoReturn:
    """Look for what is not text in the file, and raise UserError with its place."""
    decoder = text_codec(encoding).incrementaldecoder()
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
