"""The stage that trains a tokenizer on the training splits of prepared datasets."""

from collections.abc import Iterator
from pathlib import Path

from gptsmith.data.prepared import read_batches
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.files import write_tokenizer

# Of every kind of dataset, what a model reads or writes. The wording of a prompt is no part of it,
# so another prompt style does not mean another tokenizer.
_TEXT_COLUMNS = {"text", "instruction", "input", "output"}


def train_tokenizer(prepared: list[Path], vocab_size: int, output_folder: Path) -> None:
    """Train on the texts of prepared Parquet files and write vocab.json and merges.txt.

    Memory holds the distinct pre-tokens, not the texts. Raises UserError as `bpe.train` and `read_batches` do.
    """
    write_tokenizer(train(_texts(prepared), vocab_size), output_folder)


def _texts(prepared: list[Path]) -> Iterator[str]:
    for path in prepared:
        for batch in read_batches(path):
            for name in _TEXT_COLUMNS.intersection(batch.schema.names):
                yield from batch[name].to_pylist()
