"""Reading the Parquet files that are evaluated: rows about items, of several splits or baselines."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.errors import UserError


def read_groups(path: Path, group: str, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read the rows of each value of the column `group`, sorted by id, so that rows about the same items match.

    Raises UserError for a file that is not Parquet, lacks `id`, `group` or one of `columns`, or has an id
    twice in a group.
    """
    try:
        frame = pq.read_table(path, partitioning=None).to_pandas()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in ("id", group, *columns) if name not in frame]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; delete the file and run again")
    repeated = frame[frame.duplicated([group, "id"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(f"{path}: id {row['id']} occurs more than once in {group} {row[group]}")
    return {str(name): rows.sort_values("id", ignore_index=True) for name, rows in frame.groupby(group)}


def check_same_items(files: dict[Path, pd.DataFrame], *truth: str) -> None:
    """Raise UserError unless all are about the same ids with the same values in the columns `truth`."""
    (first, wanted), *others = files.items()
    for path, items in others:
        if not items[["id", *truth]].equals(wanted[["id", *truth]]):
            raise UserError(f"{path}: not about the items of {first}; delete the older of the two and run again")
