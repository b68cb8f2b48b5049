"""Our weights, and the names and shapes that Hugging Face's GPT-2 gives them.

The same weights come in three layouts:
- ours: names of gptsmith.model, nn.Linear weights [out, in];
- published (openai-community/gpt2): `h.0.attn.c_attn.weight`, linear weights [in, out] (the original
  code called the layer Conv1D), and among them the causal masks `h.0.attn.bias`;
- transformers': as published without the masks, and with `transformer.` before the trunk's names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gptsmith.config.architecture import Architecture

TRUNK_PREFIX = "transformer."
LANGUAGE_MODEL_HEAD = "lm_head.weight"

# Constants of the original code that were saved along with the weights.
MASK = re.compile(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)")


@dataclass(frozen=True)
class Weight:
    """One tensor: its name in our modules, and in the file its name (without prefix) and its shape."""

    name: str
    file_name: str
    file_shape: tuple[int, ...]
    transposed: bool = False


def trunk_weights(architecture: Architecture) -> Iterator[Weight]:
    """All weights of `model.trunk`."""
    d_model, width = architecture.d_model, architecture.feedforward_width
    yield Weight("trunk.embeddings.token.weight", "wte.weight", (architecture.vocab_size, d_model))
    yield Weight("trunk.embeddings.position.weight", "wpe.weight", (architecture.context_length, d_model))
    for n in range(architecture.n_layers):
        ours, file = f"trunk.blocks.{n}", f"h.{n}"
        yield from _layer_norm(f"{ours}.attention_norm", f"{file}.ln_1", d_model)
        yield from _linear(f"{ours}.attention.qkv", f"{file}.attn.c_attn", d_model, 3 * d_model)
        yield from _linear(f"{ours}.attention.projection", f"{file}.attn.c_proj", d_model, d_model)
        yield from _layer_norm(f"{ours}.feedforward_norm", f"{file}.ln_2", d_model)
        yield from _linear(f"{ours}.feedforward.up", f"{file}.mlp.c_fc", d_model, width)
        yield from _linear(f"{ours}.feedforward.down", f"{file}.mlp.c_proj", width, d_model)
    yield from _layer_norm("trunk.final_norm", "ln_f", d_model)


def language_model_head(architecture: Architecture) -> list[Weight]:
    """The head of a LanguageModel: nothing when it is tied."""
    if architecture.tie_embeddings:
        return []
    return [Weight("head.weight", LANGUAGE_MODEL_HEAD, (architecture.vocab_size, architecture.d_model))]


def classifier_head(architecture: Architecture, n_classes: int) -> list[Weight]:
    """The head of a Classifier."""
    return [Weight("score.weight", "score.weight", (n_classes, architecture.d_model))]


def _layer_norm(ours: str, file: str, width: int) -> Iterator[Weight]:
    yield Weight(f"{ours}.weight", f"{file}.weight", (width,))
    yield Weight(f"{ours}.bias", f"{file}.bias", (width,))


def _linear(ours: str, file: str, n_in: int, n_out: int) -> Iterator[Weight]:
    yield Weight(f"{ours}.weight", f"{file}.weight", (n_in, n_out), transposed=True)
    yield Weight(f"{ours}.bias", f"{file}.bias", (n_out,))
