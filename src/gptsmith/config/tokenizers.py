"""Tokenizers: trained in the run, or published files."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from gptsmith.config.conventions import Conventions
from gptsmith.config.sources import Sources
from gptsmith.config.strict import STRICT


class Tokenizer(BaseModel):
    """A byte-level BPE. Give either `train_on` and `vocab_size`, to train it, or `vocab` and `merges`, to fetch it."""

    model_config = STRICT

    train_on: Annotated[list[str], Field(min_length=1)] | None = None
    """Datasets whose training splits the tokenizer is trained on."""
    vocab_size: Annotated[int, Field(ge=257)] | None = None
    """Tokens of a trained tokenizer: the 256 bytes, the merges and `<|endoftext|>`."""
    vocab: Sources | None = None
    """Places that hold a `vocab.json`, as GPT-2's (also called `encoder.json`)."""
    merges: Sources | None = None
    """Places that hold its `merges.txt` (also called `vocab.bpe`)."""
    conventions: Conventions = Conventions()
    """What `vocab` and `merges` do not say; GPT-2's when left out."""

    @model_validator(mode="after")
    def _trained_or_published(self) -> Self:
        trained, published = (self.train_on, self.vocab_size), (self.vocab, self.merges)
        given = [all(value is not None for value in pair) for pair in (trained, published)]
        absent = [all(value is None for value in pair) for pair in (published, trained)]
        if (True, True) not in zip(given, absent, strict=True):
            raise ValueError("give train_on and vocab_size, or vocab and merges")
        if self.vocab is None and "conventions" in self.model_fields_set:
            raise ValueError("conventions: belong to vocab and merges; a tokenizer that is trained here has GPT-2's")
        return self

    @property
    def is_trained(self) -> bool:
        return self.train_on is not None
