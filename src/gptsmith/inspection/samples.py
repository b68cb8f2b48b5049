"""How many tokens the rows of a dataset have, from a sample of its file."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from gptsmith.config.datasets import Dataset, InstructionDataset
from gptsmith.config.load import Config
from gptsmith.config.sources import Source
from gptsmith.config.tokenizers import Tokenizer as TokenizerSettings
from gptsmith.data.mechanical import generate
from gptsmith.data.parts import read_examples
from gptsmith.data.prompts import format_message, format_prompt
from gptsmith.errors import UserError
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.chat import encode_prompt
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer

MOST_BYTES = 2**22
TRAINED_ON = 500_000
"""Characters of each dataset."""
BYTES_PER_TOKEN = 4
"""Of English with GPT-2's tokenizer, where that is not there yet."""


@dataclass(frozen=True)
class Sample:
    """Rows from the beginning of a dataset's file, and those that are generated."""

    prompts: list[str]
    """What a response follows; "" for texts."""
    texts: list[str]
    """Texts, or responses."""
    rows: int
    """Of the file."""
    is_estimated: bool
    """Whether `rows` is, from the size of the file: where the sample is not all of it."""
    test_rows: int | None
    """Of the test split's own file, estimated; None where there is none."""
    file_bytes: int
    generated: Mapping[str, int]
    """Split -> rows, of those that are generated."""


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of the rows of a sample."""

    prompts: np.ndarray
    """(rows,) int64"""
    texts: np.ndarray
    """(rows,) int64"""
    rows: int
    """Of the whole file."""
    is_estimated: bool = False
    """Whether `rows` is."""
    generated: Mapping[str, int] = field(default_factory=dict)
    """Split -> rows, of those that are generated."""
    test_rows: int | None = None
    """Of the test split's own file; None where there is none."""

    @property
    def whole(self) -> np.ndarray:
        return self.prompts + self.texts

    def scale(self, share: float) -> float:
        """What a sum over the sample is multiplied by for a split that has this share of the rows."""
        return share * self.rows / max(1, len(self.texts))


def find_raw(name: str, dataset: Dataset) -> Path | None:
    """The file that a dataset is prepared from, None where it is not there yet."""
    return _find(dataset.sources, f"datasets.{name}.sources", Path("data/raw", name), name)


def find_test(name: str, dataset: Dataset) -> Path | None:
    """The test split's own file, None where there is none, or not yet."""
    if dataset.task == "text" or dataset.test_sources is None:
        return None
    return _find(dataset.test_sources, f"datasets.{name}.test_sources", Path("data/raw", name, "test"), name)


def _find(sources: Sequence[Source], place: str, folder: Path, name: str) -> Path | None:
    source = sources[0]
    if source.path is not None and source.member is None:
        if not Path(source.path).is_file():
            raise UserError(f"{place}: no such file: {source.path}")
        return Path(source.path)
    return next(iter(sorted(folder.glob(f"{name}.*"))), None)


def read_sample(path: Path, dataset: Dataset, test: Path | None) -> Sample:
    """`test` is the file that only has the test split.

    Raises UserError when the file is not as the dataset's settings say, as far as it is read.
    """
    prompts, texts, n_bytes, is_whole = list[str](), list[str](), 0, True
    for examples in read_examples(path, dataset):
        columns = examples.columns
        if n_bytes > MOST_BYTES:
            is_whole = False
            break
        if isinstance(dataset, InstructionDataset):
            pairs = zip(columns["instruction"], columns["input"], strict=True)
            prompts += [_prompt(instruction, given, dataset) for instruction, given in pairs]
            texts += columns["output"]
        else:
            texts += columns["text"]
        n_bytes += sum(len(value.encode()) for values in columns.values() for value in values)
    size, rows, generated = path.stat().st_size, len(texts), dict[str, int]()
    is_estimated = not is_whole and dataset.format.type != "parquet"
    if not is_whole:
        rows = round(size / n_bytes * rows) if is_estimated else pq.read_metadata(path).num_rows
    test_rows = None if test is None else round(test.stat().st_size / size * rows)
    if isinstance(dataset, InstructionDataset) and (wanted := dataset.mechanical) is not None:
        drawn = generate(train=wanted.train, validation=wanted.validation, test=wanted.test, seed=0)
        generated = {split: len(items) for split, items in drawn.items()}
        items = [item for split in drawn.values() for item in split]
        prompts += [_prompt(item.instruction, item.input, dataset) for item in items]
        texts += [item.output for item in items]
        rows += len(items)
    return Sample(prompts or [""] * len(texts), texts, rows, is_estimated, test_rows, size, generated)


def _prompt(instruction: str, given: str, dataset: InstructionDataset) -> str:
    """Without what a chat template puts around it, which only the tokenizer knows."""
    if dataset.prompt == "chat":
        return format_message(instruction, given)
    return format_prompt(instruction, given, dataset.prompt)


def count_tokens(name: str, config: Config, samples: Mapping[str, Sample]) -> dict[str, Lengths]:
    """By dataset, for the tokenizer `name`: the one that is there, or one trained on the samples."""
    tokenizer = _tokenizer(name, config.tokenizers[name], samples)
    return {
        dataset: Lengths(
            _lengths(sample.prompts, tokenizer) + _around(config.datasets[dataset], tokenizer),
            _lengths(sample.texts, tokenizer),
            sample.rows,
            sample.is_estimated,
            sample.generated,
            sample.test_rows,
        )
        for dataset, sample in samples.items()
    }


def _around(dataset: Dataset, tokenizer: Tokenizer | None) -> int:
    """Tokens that a chat template adds to a prompt."""
    if not isinstance(dataset, InstructionDataset) or dataset.prompt != "chat":
        return 0
    if tokenizer is None or not tokenizer.conventions.chat_template:
        return 0
    return len(encode_prompt(tokenizer, "", "", "chat"))


def _tokenizer(name: str, settings: TokenizerSettings, samples: Mapping[str, Sample]) -> Tokenizer | None:
    folder = Path("checkpoints/tokenizers", name)
    if (folder / "merges.txt").is_file():
        return load_tokenizer(folder, name)
    known = [samples[dataset] for dataset in settings.train_on or [] if dataset in samples]
    if not known or settings.vocab_size is None:
        return None
    texts = list(chain.from_iterable(_beginning([*sample.texts, *sample.prompts]) for sample in known))
    with tempfile.TemporaryDirectory() as scratch:
        write_tokenizer(train(texts, settings.vocab_size), Path(scratch))
        return load_tokenizer(Path(scratch), name)


def _beginning(texts: Iterable[str]) -> Iterable[str]:
    left = TRAINED_ON
    for text in texts:
        if left <= 0:
            return
        left -= len(text)
        yield text


def _lengths(texts: list[str], tokenizer: Tokenizer | None) -> np.ndarray:
    if tokenizer is None:
        return np.array([-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts], dtype=np.int64)
    return np.array([len(tokenizer.encode(text)) for text in texts], dtype=np.int64)
