"""Parquet files that unpack to far more than they hold, by design or by mischief."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptsmith.errors import UserError

# Ordinary texts shrink to a third or a tenth.
MOST_EXPANSION = 1000
HARMLESS_BYTES = 1 << 28


def check_expansion(path: Path, columns: list[str]) -> None:
    """Raise UserError where the texts of `columns` take more than MOST_EXPANSION times the size of the file.

    A dictionary holds each value once and a run any number of rows, so what the file's header says of sizes bounds
    nothing. Dictionaries are left as they are here, so the count takes no memory whatever comes of it.
    """
    most = max(HARMLESS_BYTES, MOST_EXPANSION * path.stat().st_size)
    schema, unpacked = pq.read_schema(path), 0
    texts = [column for column in columns if schema.field(column).type in (pa.string(), pa.large_string(), pa.binary())]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(columns=columns):
            unpacked += sum(map(_size, batch.columns))
            if unpacked > most:
                raise UserError(
                    f"{path}: unpacks to more than {MOST_EXPANSION} times its size; give the rows as JSON Lines"
                )


def _size(values: pa.Array) -> int:
    """Bytes of the values written out one after the other."""
    if isinstance(values, pa.DictionaryArray):
        lengths = pc.binary_length(values.dictionary)
        return int(pc.sum(pc.cast(lengths.take(values.indices), pa.int64())).as_py() or 0) + len(values)
    return int(values.nbytes)
