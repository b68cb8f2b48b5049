"""The rows of a file between reading and splitting: checked, cleaned, in order, each with the digest of its texts.

A part holds a whole file, or one of its shards. The columns are those of the prepared dataset without `id`,
and `digest`; labels still have the names that the file gives them. How many rows were left out, because they lack
something or are too long, is in the file's metadata.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data.cleaning import clean_column, filled_column, joined_columns, label_column
from gptsmith.data.conversations import NoExchangeError, first_exchange
from gptsmith.data.duplicates import DIGEST_BYTES, digest
from gptsmith.data.prepared import SCHEMAS
from gptsmith.data.readers import Rows, read_rows
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.errors import UserError
from gptsmith.files import atomic_path

QUESTION = {"classification": ["text"], "instruction": ["instruction", "input"], "text": ["text"]}
"""By task, the columns that make two rows duplicates: what a model is given."""
READ = {"classification": ["text"], "instruction": ["instruction", "input", "output"]}
"""By task, the columns that a model reads or learns to write."""
LEFT_OUT = b"left_out"


@dataclass(frozen=True)
class Examples:
    """Some rows of a part, without `digest`."""

    columns: dict[str, list[str]]
    left_out: Counter[str]
    """Rows beside these, by the reason."""


def write_part(raw: Path, dataset: Dataset, output: Path, shard: Shard = WHOLE) -> None:
    """Read a shard of the file `raw` and write its rows to `output`; memory holds a batch of them.

    Raises UserError when the file is not as the settings say.
    """
    schema = SCHEMAS[dataset.task].remove(0).append(pa.field("digest", pa.binary(DIGEST_BYTES)))
    try:
        with atomic_path(output) as path, pq.ParquetWriter(path, schema, compression="lz4") as writer:
            left_out: Counter[str] = Counter()
            for examples in read_examples(raw, dataset, shard):
                columns = examples.columns
                digests = list(map(digest, *(columns[name] for name in QUESTION[dataset.task])))
                writer.write_batch(pa.record_batch({**columns, "digest": digests}, schema=schema))
                left_out += examples.left_out
            writer.add_key_value_metadata({LEFT_OUT: json.dumps(left_out)})
    except UserError:
        # A shard does not know how many lines are before it, so the place comes from reading the whole.
        if shard != WHOLE:
            for _ in read_examples(raw, dataset):
                pass
        raise


def read_examples(raw: Path, dataset: Dataset, shard: Shard = WHOLE) -> Iterator[Examples]:
    """Yield the rows of a part, some at a time. Raises UserError as `write_part` does."""
    for rows in read_rows(raw, dataset.format, _wanted(dataset), shard, _nested(dataset)):
        if isinstance(dataset, TextDataset):
            yield Examples(_columns(rows, dataset), Counter())
            continue
        complete = rows
        if dataset.incomplete == "drop":
            complete = rows.take([row for row in range(len(rows)) if _is_complete(rows, row, dataset)])
        columns = _columns(complete, dataset)
        lengths = [sum(map(len, texts)) for texts in zip(*(columns[name] for name in READ[dataset.task]), strict=True)]
        short = [row for row, length in enumerate(lengths) if length <= (dataset.max_characters or math.inf)]
        yield Examples(
            {name: [values[row] for row in short] for name, values in columns.items()},
            +Counter(incomplete=len(rows) - len(complete), too_long=len(complete) - len(short)),
        )


def read_parts(parts: Sequence[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all parts, in order."""
    for part in parts:
        try:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    yield from file.read_row_group(group, columns).to_batches()
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{part}: damaged ({str(error).splitlines()[0]}). Delete it and run again.") from error


def count_rows(parts: Sequence[Path]) -> int:
    return sum(pq.read_metadata(part).num_rows for part in parts)


def count_left_out(parts: Sequence[Path]) -> Counter[str]:
    """Rows that were left out, by the reason."""
    return sum((Counter(json.loads(pq.read_metadata(part).metadata[LEFT_OUT])) for part in parts), Counter[str]())


def _wanted(dataset: Dataset) -> list[str]:
    """Columns of the file, without repetition."""
    match dataset:
        case ClassificationDataset():
            names = [*dataset.text_columns, dataset.label]
        case InstructionDataset():
            optional = [column for column in (dataset.input, dataset.category) if column is not None]
            names = [dataset.instruction, dataset.output, *optional]
            if dataset.messages is not None:
                names = [name for name in (dataset.messages, dataset.category) if name is not None]
        case TextDataset():
            names = [dataset.text]
    return list(dict.fromkeys(names))


def _nested(dataset: Dataset) -> list[str]:
    """Columns of the file that hold lists."""
    return [dataset.messages] if isinstance(dataset, InstructionDataset) and dataset.messages is not None else []


def _is_complete(rows: Rows, row: int, dataset: ClassificationDataset | InstructionDataset) -> bool:
    if isinstance(dataset, ClassificationDataset):
        needed = [dataset.text_columns, [dataset.label]]
    elif dataset.messages is None:
        needed = [[dataset.instruction], [dataset.output]]
    else:
        return _has_exchange(rows.columns[dataset.messages][row])
    return all(any(rows.columns[column][row].strip() for column in columns) for columns in needed)


def _has_exchange(messages: str) -> bool:
    try:
        first_exchange(messages)
    except NoExchangeError:
        return False
    except ValueError:  # no conversation at all, which is not for leaving out
        return True
    return True


def _columns(rows: Rows, dataset: Dataset) -> dict[str, list[str]]:
    match dataset:
        case ClassificationDataset():
            return {
                "text": joined_columns(rows, dataset.text_columns),
                "label": label_column(rows, dataset.label, dataset.label_names),
            }
        case InstructionDataset():
            absent = [""] * len(rows)
            category = absent if dataset.category is None else clean_column(rows, dataset.category)
            if dataset.messages is not None:
                questions, answers = _exchanges(rows, dataset.messages)
                return {"instruction": questions, "input": absent, "output": answers, "category": category}
            return {
                "instruction": filled_column(rows, dataset.instruction),
                "input": absent if dataset.input is None else clean_column(rows, dataset.input),
                "output": filled_column(rows, dataset.output),
                "category": category,
            }
        case TextDataset():
            return {"text": filled_column(rows, dataset.text)}


def _exchanges(rows: Rows, column: str) -> tuple[list[str], list[str]]:
    """Instructions and outputs; UserError for a row that has none."""
    found = []
    for row, messages in enumerate(rows.columns[column]):
        try:
            found.append(first_exchange(messages))
        except ValueError as error:
            raise UserError(
                f"{rows.place(row)}, column {column!r}: {error}. Mend or remove the row, or name another column."
            ) from error
    return [question for question, _ in found], [answer for _, answer in found]
