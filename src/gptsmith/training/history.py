"""The course of a training, as a Parquet file with one row a logged step."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.files import atomic_path

SCHEMA = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("epoch", pa.float64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("accuracy", pa.float64()),
        pa.field("learning_rate", pa.float64()),
        pa.field("grad_norm", pa.float64()),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class HistoryRow:
    """Training rows are means over the steps since the row before; validation rows over the split."""

    step: int
    epoch: float
    split: str
    loss: float
    accuracy: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens: int
    seconds: float


def write_history(path: Path, rows: list[HistoryRow]) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA), temporary, compression="zstd")
