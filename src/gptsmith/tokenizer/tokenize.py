"""The stage that turns a prepared dataset into token files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data.prepared import SPLITS, read_batches, read_report
from gptsmith.data.prompts import format_prompt
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.tokens import token_schema


def tokenize_dataset(prepared: Path, dataset: Dataset, tokenizer: Tokenizer, output: Path) -> None:
    """Encode the splits in the folder `prepared` into token files of the same names in `output`.

    Texts are encoded whole: each run truncates for itself. An instruction's ids are those of the prompt
    and then those of the output, without end-of-text. Memory holds one batch of rows. Raises UserError
    when `prepared` does not hold such a dataset and, naming the row, for a text that cannot be encoded.
    """
    report = read_report(prepared)
    if report["task"] != dataset.task:
        raise UserError(f"{prepared}: prepared for {report['task']}, not {dataset.task}. Prepare the dataset again.")
    label_names = report.get("labels")
    schema = token_schema(dataset.task, tokenizer, label_names)
    labels = {name: label for label, name in enumerate(label_names or [])}
    for split in SPLITS:
        source = prepared / f"{split}.parquet"
        with (
            atomic_path(output / f"{split}.parquet") as target,
            pq.ParquetWriter(target, schema, compression="zstd") as writer,
        ):
            for batch in read_batches(source):
                rows = []
                for row in batch.to_pylist():
                    try:
                        rows.append(_encode_row(row, dataset, labels, tokenizer))
                    except UserError as error:
                        raise UserError(f"{source}, id {row['id']}: {error}") from error
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def _encode_row(row: dict[str, Any], dataset: Dataset, labels: dict[str, int], tokenizer: Tokenizer) -> dict[str, Any]:
    match dataset:
        case ClassificationDataset():
            if row["label"] not in labels:
                raise UserError(f"label {row['label']!r} is not in the dataset's report. Prepare the dataset again.")
            return {"id": row["id"], "input_ids": tokenizer.encode(row["text"]), "label": labels[row["label"]]}
        case InstructionDataset():
            prompt = tokenizer.encode(format_prompt(row["instruction"], row["input"], dataset.prompt))
            response = tokenizer.encode(row["output"])
            return {"id": row["id"], "input_ids": prompt + response, "prompt_length": len(prompt)}
        case TextDataset():
            return {"id": row["id"], "input_ids": tokenizer.encode(row["text"])}
