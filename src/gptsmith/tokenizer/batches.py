"""Rows of a prepared split, a batch at a time: the files may be larger than memory."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.data.prepared import SCHEMAS
from gptsmith.errors import UserError


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield a prepared Parquet file in batches of at most 1,024 rows.

    Raises UserError when the file is missing, damaged or not a prepared split.
    """
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow not in SCHEMAS.values():
                names = ", ".join(file.schema_arrow.names)
                raise UserError(
                    f"{path}: not a split of a prepared dataset (columns {names}). Prepare the dataset again."
                )
            yield from file.iter_batches(batch_size=1024)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Prepare the dataset first.") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}). Prepare the dataset again.") from error
