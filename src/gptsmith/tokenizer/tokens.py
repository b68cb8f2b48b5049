"""The token files that training reads: one row a text, whole, as ids.

`id` is that of the prepared row; `label` indexes the labels, and `prompt_length` says how many of the
`input_ids` are the prompt. The schema's metadata names the tokenizer that made the ids, and the labels or the
wording of the prompts.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptsmith.errors import UserError
from gptsmith.tokenizer.fast import Tokenizer


def _schema(*task_columns: str) -> pa.Schema:
    columns = {"id": pa.int64(), "input_ids": pa.list_(pa.int32())} | dict.fromkeys(task_columns, pa.int32())
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in columns.items()])


SCHEMAS = {"classification": _schema("label"), "instruction": _schema("prompt_length"), "text": _schema()}
"""By task."""


def token_schema(
    task: str, tokenizer: Tokenizer, label_names: list[str] | None, prompt: str | None = None
) -> pa.Schema:
    """The task's schema with its metadata: what a token file is written with."""
    metadata = {"tokenizer": tokenizer.name, "tokenizer_sha256": tokenizer.content_hash}
    if label_names is not None:
        metadata["labels"] = json.dumps(label_names, ensure_ascii=False)
    if prompt is not None:
        metadata["prompt"] = prompt
    return SCHEMAS[task].with_metadata(metadata)


@dataclass(frozen=True, eq=False)
class Tokens:
    """A token file in memory; `tokens[row]` are the input_ids of a row."""

    path: Path
    tokenizer: str
    tokenizer_hash: str
    label_names: list[str] | None
    """The name of each label; None unless the task is classification."""
    ids: np.ndarray
    """(rows,) int64: the rows' ids in the prepared dataset."""
    values: np.ndarray
    """(all tokens,) int32: the input_ids of all rows, end to end."""
    offsets: np.ndarray
    """(rows + 1,) int64: where each row begins in `values`."""
    labels: np.ndarray | None
    """(rows,) int32, or None unless the task is classification."""
    prompt_lengths: np.ndarray | None
    """(rows,) int32, or None unless the task is instruction."""
    prompt: str | None = None
    """The wording around instructions (gptsmith.data.prompts); None unless the task is instruction."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> np.ndarray:
        """(length,) int32: the input_ids of one row (0 to rows - 1), as a view."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(rows,) int64: tokens of each row."""
        return np.diff(self.offsets)


def read_tokens(path: Path) -> Tokens:
    """Read a token file; raises UserError when it is missing, damaged or not one."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Tokenize the dataset first.") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}). Tokenize the dataset again.") from error
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if table.schema not in SCHEMAS.values() or not {"tokenizer", "tokenizer_sha256"} <= metadata.keys():
        names = ", ".join(table.schema.names)
        raise UserError(f"{path}: not a token file (columns {names}). Tokenize the dataset again.")
    columns = {name: table[name].to_numpy() for name in table.schema.names if name != "input_ids"}
    return Tokens(
        path=path,
        tokenizer=metadata["tokenizer"],
        tokenizer_hash=metadata["tokenizer_sha256"],
        label_names=json.loads(metadata["labels"]) if "labels" in metadata else None,
        ids=columns["id"],
        values=pc.list_flatten(table["input_ids"]).to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(pc.list_value_length(table["input_ids"]), dtype=np.int64)]),
        labels=columns.get("label"),
        prompt_lengths=columns.get("prompt_length"),
        prompt=metadata.get("prompt"),
    )


def check_same_tokenizer(tokens: Tokens, tokenizer: Tokenizer) -> None:
    """Raise UserError unless `tokens` were made by the model's `tokenizer`: to another its ids mean other words."""
    if tokens.tokenizer_hash != tokenizer.content_hash:
        raise UserError(
            f"{tokens.path}: made by tokenizer {tokens.tokenizer} (content {tokens.tokenizer_hash[:12]}), but the "
            f"model's is {tokenizer.name} (content {tokenizer.content_hash[:12]}). Tokenize the dataset with that one."
        )
