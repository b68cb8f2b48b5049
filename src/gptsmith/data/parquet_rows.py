"""Rows out of Parquet files."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.data.expansion import check_expansion
from gptsmith.data.records import BATCH_ROWS, BLOCK, NAME_IT, Record, as_text, missing_column, unreadable
from gptsmith.data.shards import Shard


def read_parquet(path: Path, columns: list[str], shard: Shard, nested: Collection[str]) -> Iterator[Record]:
    """Yield the wanted values of each row; raises as `gptsmith.data.readers.read_rows` does."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in columns:
                if column not in names:
                    raise missing_column(str(path), column, names, NAME_IT)
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
                    yield row, [as_text(value, place, column, nested) for value, column in pairs]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error, "cannot be read as Parquet") from error


def parquet_column_names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error, "cannot be read as Parquet") from error
