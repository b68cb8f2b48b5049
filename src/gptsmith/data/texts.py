"""Texts to be read by a model, out of a file or a stream, a batch at a time."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from gptsmith.config.datasets import Format
from gptsmith.data.readers import read_rows
from gptsmith.errors import UserError

BLOCK = 2**20
"""Bytes."""
TABLES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def texts_in_file(path: Path, column: str, delimiter: str | None, encoding: str) -> Iterator[list[str]]:
    """Yield the lines of a .txt file, or a column of a table, whose kind its name's ending says.

    Raises UserError when it cannot be read so; the remedies are in the words of the command's options.
    """
    kind = path.suffix.lower()
    if kind == ".txt":
        try:
            with path.open("rb") as file:
                yield from texts_in_lines(file, str(path), encoding)
        except IsADirectoryError as error:
            raise UserError(f"{path}: a folder where a file is expected") from error
    elif kind in TABLES:
        if delimiter is not None and len(delimiter) != 1:
            raise UserError(f"--delimiter: one character is expected, found {delimiter!r}")
        form = Format.model_validate({"type": TABLES[kind], "delimiter": delimiter, "encoding": encoding})
        try:
            for rows in read_rows(path, form, [column]):
                yield rows.columns[column]
        except UserError as error:
            raise UserError(_in_options(str(error))) from error
    else:
        raise UserError(f"{path}: do not know how to read {kind or 'this'}; known are .txt, {', '.join(TABLES)}")


def texts_in_lines(stream: io.BufferedReader, name: str, encoding: str) -> Iterator[list[str]]:
    """Yield the lines of `stream`, as many at a time as have arrived: whoever writes them need not wait.

    An empty line is an empty text. Raises UserError for bytes that are no text.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise UserError(f"--encoding: no text encoding is called {encoding!r}; try utf-8 or cp1252") from error
    rest, n_lines = "", 0
    while True:
        data = stream.read1(BLOCK)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            remedy = "name the right encoding with --encoding"
            raise UserError(f"{name}, after line {n_lines}: not valid {encoding} ({error}); {remedy}") from error
        *lines, rest = (rest + text).split("\n")
        if not data and rest:
            lines.append(rest)
        if lines:
            if n_lines == 0:
                lines[0] = lines[0].removeprefix("\ufeff")
            yield [line.removesuffix("\r") for line in lines]
            n_lines += len(lines)
        if not data:
            return


def _in_options(message: str) -> str:
    """`gptsmith.data.readers` speaks of a config's keys."""
    message = message.replace("Name the right column in the dataset's settings.", "Name the right one with --text.")
    message = message.replace(" If the file has no header line, list format.columns.", "")
    for key in ("delimiter", "encoding"):
        message = message.replace(f"format.{key}", f"--{key}")
    return message
