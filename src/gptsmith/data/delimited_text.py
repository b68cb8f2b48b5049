"""Tables in text files whose fields are separated by a character: CSV, TSV."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

from gptsmith.config.datasets import Format
from gptsmith.data.records import NAME_IT, Record, listed, missing_column
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.data.text_files import text_lines
from gptsmith.errors import UserError

MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit is 131,072: shorter than a long document


def read_delimited(path: Path, format: Format, columns: list[str], shard: Shard) -> Iterator[Record]:  # noqa: A002
    """Yield the wanted fields of each record; raises as `gptsmith.data.readers.read_rows` does."""
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
            raise missing_column(where, column, names, remedy)
        if names.count(column) > 1:
            raise UserError(f"{where}: {names.count(column)} columns are named {column!r}. Rename all but one.")
    positions = [names.index(column) for column in columns]
    for line, fields in records:
        if len(fields) != len(names):
            remedy = "Mend the line."
            if len(fields) > len(names) and format.quoting == "minimal":
                remedy = f"A field that contains {_delimiter(format)!r} has to stand in quotation marks."
            expected = f"{len(names)} ({listed(names)})"
            raise UserError(f"{path}, line {line}: fields found: {len(fields)}, expected: {expected}. {remedy}")
        yield line, [fields[position] for position in positions]


def delimited_column_names(path: Path, format: Format) -> list[str]:  # noqa: A002
    """Of the header line, or those that the format gives."""
    return format.columns or next((fields for _, fields in _csv_records(path, format, WHOLE)), [])


def _delimiter(format: Format) -> str:  # noqa: A002
    return format.delimiter or ("\t" if format.type == "tsv" else ",")


def _csv_records(path: Path, format: Format, shard: Shard) -> Iterator[Record]:  # noqa: A002
    """Yield each record's fields with the number of its first line; blank lines are passed over."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    # Not strict, a quotation mark that is never closed would swallow the rows up to the next one.
    reader = csv.reader(
        text_lines(path, format.encoding, "", shard),
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
