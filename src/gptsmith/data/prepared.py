"""The files of a prepared dataset: `train.parquet`, `validation.parquet`, `test.parquet`, `report.json`.

The contract between the stage that prepares data and all that read it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptsmith.errors import UserError
from gptsmith.files import atomic_path, read_json, write_json

SPLITS = ("train", "validation", "test")
REPORT = "report.json"


def _schema(*text_columns: str) -> pa.Schema:
    return pa.schema([("id", pa.int64()), *((name, pa.string()) for name in text_columns)])


SCHEMAS = {
    "classification": _schema("text", "label"),
    "instruction": _schema("instruction", "input", "output", "category"),
    "text": _schema("text"),
}
"""By task. `id` is the row's number in the order read, unique over the splits."""


ROW_GROUP_BYTES = 2**20
"""About how much text is a row group, the unit of reading: a tenth of a second of tokenization."""


def write_prepared(folder: Path, splits: Mapping[str, Iterable[pa.RecordBatch]], report: Mapping[str, Any]) -> None:
    """Write the rows of each split, and the report last: where it exists, the splits are complete.

    The files do not depend on how the rows are divided into batches.
    """
    (folder / REPORT).unlink(missing_ok=True)
    schema = SCHEMAS[report["task"]]
    repeated = [name for name in ("label", "category") if name in schema.names]
    for split in SPLITS:
        with (
            atomic_path(_split_path(folder, split)) as path,
            pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated) as writer,
        ):
            for group in row_groups(splits[split]):
                writer.write_batch(group)
    write_json(folder / REPORT, report)


def row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows again, each time as many as take up ROW_GROUP_BYTES, and at least one."""
    waiting, room = list[pa.RecordBatch](), ROW_GROUP_BYTES
    for batch in batches:
        ends = np.cumsum(_row_bytes(batch))
        start = used = 0
        while start < len(batch):
            end = int(np.searchsorted(ends, used + room, side="right"))
            if end == start and not waiting:
                end += 1
            if end > start:
                waiting.append(batch.slice(start, end - start))
                room -= int(ends[end - 1]) - used
                start, used = end, int(ends[end - 1])
            if start < len(batch):
                yield pa.concat_batches(waiting)
                waiting, room = [], ROW_GROUP_BYTES
    if waiting:
        yield pa.concat_batches(waiting)


def _row_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """(rows,) int64: what each row takes up in memory."""
    lengths = [pc.binary_length(column).to_numpy() for column in batch.columns if pa.types.is_string(column.type)]
    return np.stack(lengths).sum(axis=0, dtype=np.int64) + 8 + 4 * len(lengths)


def read_split(folder: Path, split: str) -> pa.Table:
    """Read one split; UserError when the file is missing, damaged or not one of `SCHEMAS`."""
    with _opened(_split_path(folder, split)) as file:
        return file.read()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield a split a row group at a time, for files larger than memory; UserError as `read_split`."""
    yield from read_row_groups(path, range(count_row_groups(path)))


def read_row_groups(path: Path, groups: range) -> Iterator[pa.RecordBatch]:
    with _opened(path) as file:
        for group in groups:
            yield from file.read_row_group(group).to_batches()


def count_row_groups(path: Path) -> int:
    with _opened(path) as file:
        return file.num_row_groups


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow not in SCHEMAS.values():
                names = ", ".join(file.schema_arrow.names)
                raise UserError(
                    f"{path}: not a split of a prepared dataset (columns {names}). Prepare the dataset again."
                )
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Prepare the dataset first.") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}). Prepare the dataset again.") from error


def read_report(folder: Path) -> dict[str, Any]:
    """Read `report.json`; UserError when it is missing or not a report."""
    path = folder / REPORT
    if not path.is_file():
        raise UserError(f"{path}: no such file. Prepare the dataset first.")
    report = read_json(path)
    if not isinstance(report, dict) or report.get("task") not in SCHEMAS:
        raise UserError(f"{path}: not the report of a prepared dataset. Prepare the dataset again.")
    return report


def near_copies_in_train(report: Mapping[str, Any], split: str) -> dict[int, int] | None:
    """Ids of the rows of `split` ("validation" or "test") that are nearly equal to a training row, and that row's id;
    None where the dataset was not searched for near-duplicates. `report` is what `read_report` gives."""
    if "near_duplicates" not in report:
        return None
    return {int(row): copy for row, copy in report["near_duplicates"]["in_train"][split].items()}


def _split_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.parquet"
