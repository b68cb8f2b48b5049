"""The stage that turns a prepared dataset into token files."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data.prepared import SPLITS, count_row_groups, read_report, read_row_groups
from gptsmith.data.shards import WHOLE, Shard
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.tokenizer.chat import encode_prompt
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.processes import map_in_order
from gptsmith.tokenizer.tokens import SCHEMAS, token_schema

Chunk = tuple[Path, pa.RecordBatch]
"""Rows, and the prepared file that they are from."""

# The upper bytes of ids are mostly zero: put together they compress well. A dictionary would be as long as the column.
_PARQUET = {
    "compression": "zstd",
    "use_dictionary": False,
    "column_encoding": {"input_ids.list.element": "BYTE_STREAM_SPLIT"},
}


def tokenize_dataset(
    prepared: Path, dataset: Dataset, tokenizer: Tokenizer, output: Path, processes: int = 1, shard: Shard = WHOLE
) -> None:
    """Encode the splits in the folder `prepared` into token files of the same names in `output`.

    Texts are encoded whole: each run truncates for itself. An instruction's ids are those of the prompt
    and then those of the output, without end-of-text. Each row group gives one; those of a shard are a
    part of the whole's (`join_shards`). The files do not depend on `processes`, and memory holds some row
    groups a process. Raises UserError when `prepared` does not hold such a dataset and, naming the row, for
    a text that cannot be encoded.
    """
    report = read_report(prepared)
    if report["task"] != dataset.task:
        raise UserError(f"{prepared}: prepared for {report['task']}, not {dataset.task}. Prepare the dataset again.")
    label_names = report.get("labels")
    prompt = dataset.prompt if isinstance(dataset, InstructionDataset) else None
    schema = token_schema(dataset.task, tokenizer, label_names, prompt)
    encode = partial(_encode, dataset=dataset, label_names=label_names, tokenizer=tokenizer, schema=schema)
    sources = [prepared / f"{split}.parquet" for split in SPLITS]
    with (
        closing(map_in_order(encode, _chunks(sources, shard), processes)) as encoded,
        ExitStack() as files,
    ):
        writers = {source: files.enter_context(_writer(output / source.name, schema)) for source in sources}
        for source, batch in encoded:
            writers[source].write_batch(batch)


def join_shards(shards: Sequence[Path], output: Path) -> None:
    """Write what `tokenize_dataset` writes without shards, from the folders that it wrote the shards into, in order."""
    for split in SPLITS:
        files = [shard / f"{split}.parquet" for shard in shards]
        found = pq.read_schema(files[0])
        # Equal, but not in the name of the lists' items, which Parquet calls otherwise than Arrow.
        (schema,) = (schema.with_metadata(found.metadata) for schema in SCHEMAS.values() if schema == found)
        with _writer(output / f"{split}.parquet", schema) as writer:
            for path in files:
                with pq.ParquetFile(path) as file:
                    if file.schema_arrow.metadata != schema.metadata:
                        raise UserError(f"{path}: of another tokenizer than {files[0]}. Delete both and run again.")
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group))


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with atomic_path(path) as target, pq.ParquetWriter(target, schema, **_PARQUET) as writer:
        yield writer


def _chunks(sources: Sequence[Path], shard: Shard) -> Iterator[Chunk]:
    """The shard's row groups, of which a prepared file has one a megabyte."""
    counts = [count_row_groups(source) for source in sources]
    wanted = shard.range_of(sum(counts))
    first = 0
    for source, count in zip(sources, counts, strict=True):
        groups = range(max(wanted.start - first, 0), min(wanted.stop - first, count))
        for batch in read_row_groups(source, groups):
            yield source, batch
        first += count


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
            encoded = [_id_lists(tokenizer.encode_pieces, [columns["text"]], chunk), labels]
        case InstructionDataset():
            prompt_lengths = array("i")

            def encode(instruction: str, given: str, output: str) -> Iterator[list[int]]:
                prompt = encode_prompt(tokenizer, instruction, given, dataset.prompt)
                prompt_lengths.append(len(prompt))
                yield prompt
                yield from tokenizer.encode_pieces(output)

            asked = [columns[name] for name in ("instruction", "input", "output")]
            encoded = [_id_lists(encode, asked, chunk), _int32(prompt_lengths)]
        case TextDataset():
            encoded = [_id_lists(tokenizer.encode_pieces, [columns["text"]], chunk)]
    return source, pa.record_batch([batch["id"], *encoded], schema=schema)


def _id_lists(encode: Callable[..., Iterable[list[int]]], columns: Sequence[list[str]], chunk: Chunk) -> pa.ListArray:
    """The ids of each row, of which `encode` gives some at a time.

    An array, because Arrow takes it as it is; a list it would look through id by id.
    """
    values, ends = array("i"), array("i", [0])
    for row, texts in enumerate(zip(*columns, strict=True)):
        try:
            for ids in encode(*texts):
                values.fromlist(ids)
        except UserError as error:
            source, batch = chunk
            raise UserError(f"{source}, id {batch['id'][row]}: {error}") from error
        ends.append(len(values))
    return pa.ListArray.from_arrays(_int32(ends), _int32(values))


def _int32(values: "array[int]") -> pa.Int32Array:
    return pa.array(np.frombuffer(values, dtype=np.int32))
