"""Tokenizers: trained in the run, published files, or those of a model's file."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from gptsmith.config.conventions import Conventions
from gptsmith.config.sources import Sources
from gptsmith.config.strict import STRICT


class Tokenizer(BaseModel):
    """A byte-level BPE. Give `train_on` and `vocab_size`, to train it, or `vocab` and `merges`, to fetch it, or `gguf`,
    to take that of a model."""

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
    gguf: str | None = None
    """Name of the model whose GGUF file has it, with its chat format."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        kinds = ("train_on", "vocab_size", "vocab", "merges", "gguf")
        given = {kind for kind in kinds if getattr(self, kind) is not None}
        if given not in ({"train_on", "vocab_size"}, {"vocab", "merges"}, {"gguf"}):
            raise ValueError("give train_on and vocab_size, or vocab and merges, or gguf")
        if self.vocab is None and "conventions" in self.model_fields_set:
            told = "a GGUF file has its own" if self.gguf else "a tokenizer that is trained here has GPT-2's"
            raise ValueError(f"conventions: belong to vocab and merges; {told}")
        return self

    @property
    def is_trained(self) -> bool:
        return self.train_on is not None
