"""The stage that turns a prepared dataset into token files."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data.prepared import SCHEMAS, SPLITS, read_batches, read_report
from gptsmith.data.prompts import format_prompt
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.processes import map_in_order
from gptsmith.tokenizer.tokens import token_schema

CHUNK_BYTES = 2**20
"""About how much is encoded at a time and becomes a row group: a tenth of a second's work."""

Chunk = tuple[Path, pa.RecordBatch]
"""Rows, and the prepared file that they are from."""

# The upper bytes of ids are mostly zero: put together they compress well. A dictionary would be as long as the column.
_PARQUET = {
    "compression": "zstd",
    "use_dictionary": False,
    "column_encoding": {"input_ids.list.element": "BYTE_STREAM_SPLIT"},
}


def tokenize_dataset(prepared: Path, dataset: Dataset, tokenizer: Tokenizer, output: Path, processes: int = 1) -> None:
    """Encode the splits in the folder `prepared` into token files of the same names in `output`.

    Texts are encoded whole: each run truncates for itself. An instruction's ids are those of the prompt
    and then those of the output, without end-of-text. The files do not depend on `processes`, and memory
    holds some chunks of rows a process. Raises UserError when `prepared` does not hold such a dataset and,
    naming the row, for a text that cannot be encoded.
    """
    report = read_report(prepared)
    if report["task"] != dataset.task:
        raise UserError(f"{prepared}: prepared for {report['task']}, not {dataset.task}. Prepare the dataset again.")
    label_names = report.get("labels")
    schema = token_schema(dataset.task, tokenizer, label_names)
    encode = partial(_encode, dataset=dataset, label_names=label_names, tokenizer=tokenizer, schema=schema)
    sources = [prepared / f"{split}.parquet" for split in SPLITS]
    chunks = ((source, chunk) for source in sources for chunk in _chunks(source, dataset.task))
    with closing(map_in_order(encode, chunks, processes)) as encoded:
        for source, parts in groupby(encoded, key=itemgetter(0)):
            with (
                atomic_path(output / source.name) as target,
                pq.ParquetWriter(target, schema, **_PARQUET) as writer,
            ):
                for _, batch in parts:
                    writer.write_batch(batch)


def _chunks(source: Path, task: str) -> Iterator[pa.RecordBatch]:
    """The rows in order: as many as make CHUNK_BYTES, at least one; of an empty split one chunk without rows."""
    waiting, size = [pa.RecordBatch.from_pylist([], schema=SCHEMAS[task])], 0
    for batch in read_batches(source):
        for piece in _pieces(batch):
            if size + piece.nbytes > CHUNK_BYTES and size:
                yield pa.concat_batches(waiting)
                waiting, size = [], 0
            waiting.append(piece)
            size += piece.nbytes
    yield pa.concat_batches(waiting)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch of long texts."""
    if batch.nbytes <= CHUNK_BYTES or len(batch) == 1:
        yield batch
    else:
        middle = len(batch) // 2
        yield from _pieces(batch.slice(0, middle))
        yield from _pieces(batch.slice(middle))


def _encode(
    chunk: Chunk, dataset: Dataset, label_names: list[str] | None, tokenizer: Tokenizer, schema: pa.Schema
) -> Chunk:
    """The rows of a token file."""
    source, batch = chunk
    columns = {name: batch[name].to_pylist() for name in batch.schema.names if name != "id"}
    match dataset:
        case ClassificationDataset():
            labels = pc.index_in(batch["label"], pa.array(label_names, pa.string()))
            if labels.null_count:
                row = labels.to_pylist().index(None)
                raise UserError(
                    f"{source}, id {batch['id'][row]}: label {columns['label'][row]!r} is not in the dataset's report. "
                    "Prepare the dataset again."
                )
            input_ids, _ = _encode_texts(zip(columns["text"], strict=True), chunk, tokenizer)
            encoded = [input_ids, labels]
        case InstructionDataset():
            prompts = map(partial(format_prompt, style=dataset.prompt), columns["instruction"], columns["input"])
            encoded = [*_encode_texts(zip(prompts, columns["output"], strict=True), chunk, tokenizer)]
        case TextDataset():
            input_ids, _ = _encode_texts(zip(columns["text"], strict=True), chunk, tokenizer)
            encoded = [input_ids]
    return source, pa.record_batch([batch["id"], *encoded], schema=schema)


def _encode_texts(
    rows: Iterable[Sequence[str]], chunk: Chunk, tokenizer: Tokenizer
) -> tuple[pa.ListArray, pa.Int32Array]:
    """The ids of each row's texts, one text after another, and how many of them are the first text's.

    Arrays, because Arrow takes them as they are; a list it would look through id by id.
    """
    values, ends, first_lengths = array("i"), array("i", [0]), array("i")
    for row, texts in enumerate(rows):
        try:
            encoded = [tokenizer.encode(text) for text in texts]
        except UserError as error:
            source, batch = chunk
            raise UserError(f"{source}, id {batch['id'][row]}: {error}") from error
        first_lengths.append(len(encoded[0]))
        for ids in encoded:
            values.fromlist(ids)
        ends.append(len(values))
    return pa.ListArray.from_arrays(_int32(ends), _int32(values)), _int32(first_lengths)


def _int32(values: "array[int]") -> pa.Int32Array:
    return pa.array(np.frombuffer(values, dtype=np.int32))
