"""What a run starts from: downloaded, imported, pretrained in the run, or random weights."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

from gptsmith.config.architecture import ArchitectureOrSize
from gptsmith.config.sources import Sha256, Source, Sources
from gptsmith.config.strict import STRICT
from gptsmith.config.training import Training


class HuggingFace(BaseModel):
    """`model.safetensors` of a repository on the Hugging Face hub, at one revision."""

    model_config = STRICT

    repo: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    """`owner/name`."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """Commit of the repository, 40 hexadecimal digits: a branch would not be reproducible."""
    sha256: Sha256
    """SHA-256 of model.safetensors."""

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/model.safetensors"

    @property
    def source(self) -> Source:
        return Source(url=self.url, sha256=self.sha256)


class Pretrain(BaseModel):
    """Next-token prediction on the training splits of some datasets."""

    model_config = STRICT

    datasets: Annotated[list[str], Field(min_length=1)]
    """Names of datasets. Their texts are joined, end-of-text between them, and read through a sliding window."""
    stride: PositiveInt | None = None
    """Tokens from one window's start to the next; the context length (no overlap) when left out."""
    window: PositiveInt | None = None
    """Tokens per window; the context length when left out."""
    training: Training = Training()
    """Optimizer, schedule and length."""


class Model(BaseModel):
    """A language model to start from: give exactly one of `pretrain`, `huggingface`, `path`, `gguf` and
    `random`."""

    model_config = STRICT

    tokenizer: str
    """Name of its tokenizer."""
    architecture: ArchitectureOrSize | None = None
    """The shape: a mapping, or one of `gpt2-small`, `gpt2-medium`, `gpt2-large`, `gpt2-xl`. Left out with `path`
    and `gguf`, whose files tell it."""
    pretrain: Pretrain | None = None
    """Train it here, from random weights."""
    huggingface: HuggingFace | None = None
    """Download weights of a GPT-2 or a Llama."""
    path: str | None = None
    """Folder in Hugging Face layout (config.json, model.safetensors) with a GPT-2 or a Llama, or an earlier run's
    checkpoint."""
    gguf: Sources | None = None
    """Places that hold a GGUF file, llama.cpp's format, with a model of the Llama family; quantized weights become
    float32. Its tokenizer is in the same file: `tokenizers.<name>.gguf`."""
    random: Literal[True] | None = None
    """Start from random weights: the comparison that tells what pretraining gives."""

    @property
    def origin(self) -> str:
        """Which of the ways is used."""
        return next(name for name in ORIGINS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        found = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(f"give exactly one of {', '.join(ORIGINS)} (found: {', '.join(found) or 'none'})")
        tells = {"path": "the folder's config.json", "gguf": "the file"}.get(found[0])
        if tells and self.architecture is not None:
            raise ValueError(f"architecture: leave it out, {tells} tells it")
        if not tells and self.architecture is None:
            raise ValueError("architecture: give a mapping or the name of a GPT-2 size")
        return self


ORIGINS = ("pretrain", "huggingface", "path", "gguf", "random")
