"""The files of a prepared dataset: `train.parquet`, `validation.parquet`, `test.parquet`, `report.json`.

The contract between the stage that prepares data and all that read it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
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


def write_prepared(folder: Path, tables: Mapping[str, pa.Table], report: Mapping[str, Any]) -> None:
    """Write a table a split, and the report last: where it exists, the splits are complete."""
    (folder / REPORT).unlink(missing_ok=True)
    for split in SPLITS:
        with atomic_path(_split_path(folder, split)) as path:
            pq.write_table(tables[split], path, compression="zstd")
    write_json(folder / REPORT, report)


def read_split(folder: Path, split: str) -> pa.Table:
    """Read one split; UserError when the file is missing, damaged or not one of `SCHEMAS`."""
    with _opened(_split_path(folder, split)) as file:
        return file.read()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield a split in batches of at most 1,024 rows, for files larger than memory; UserError as `read_split`."""
    with _opened(path) as file:
        yield from file.iter_batches(batch_size=1024)


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


def _split_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.parquet"
