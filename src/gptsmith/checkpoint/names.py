"""Our weights, and the names and shapes that files give them.

transformers knows two settings of our architecture, GPT-2 and Llama; their weights are in its names and layout:
- GPT-2: `transformer.h.0.attn.c_attn.weight`, linear weights [in, out] (the original code called the layer Conv1D). As
  published (openai-community/gpt2) without `transformer.`, and with the causal masks `h.0.attn.bias` among them;
- Llama: `model.layers.0.self_attn.q_proj.weight`, linear weights [out, in], queries, keys and values apart.

Of any other setting the weights have the names of gptsmith.model, linear weights [out, in].
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gptsmith.config.architecture import Architecture

PREFIXES = {"gpt2": "transformer.", "llama": "model.", "gptsmith": ""}
"""Before the trunk's names, of each family. Some files leave it out."""
LANGUAGE_MODEL_HEAD = "lm_head.weight"

# Constants of the original codes that were saved along with the weights.
CONSTANTS = re.compile(
    r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)|(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
)

Family = Literal["gpt2", "llama", "gptsmith"]
"""`model_type` of config.json."""


def family_of(architecture: Architecture) -> Family:
    """`gptsmith` for a model that transformers does not have."""
    if not architecture.attends_to_all:
        return "gptsmith"
    parts = (architecture.norm, architecture.position, architecture.is_gated)
    has_all_heads = architecture.kv_heads == architecture.n_heads
    if parts == ("layer_norm", "learned", False) and architecture.bias and has_all_heads:
        return "gpt2"
    return "llama" if parts == ("rms_norm", "rotary", True) else "gptsmith"


@dataclass(frozen=True)
class Weight:
    """A tensor of our modules, and those in the file that give it: more than one are its rows, one after the other."""

    name: str
    parts: tuple[tuple[str, tuple[int, ...]], ...]
    """Name in the file, with the family's prefix, and shape in the file."""
    transposed: bool = False


def trunk_weights(architecture: Architecture) -> Iterator[Weight]:
    """All weights of `model.trunk`."""
    match family_of(architecture):
        case "gpt2":
            return _gpt2_weights(architecture)
        case "llama":
            return _llama_weights(architecture)
        case "gptsmith":
            return _own_weights(architecture)


def language_model_head(architecture: Architecture) -> list[Weight]:
    """The head of a LanguageModel: nothing when it is tied."""
    if architecture.tie_embeddings:
        return []
    return [Weight("head.weight", ((LANGUAGE_MODEL_HEAD, (architecture.vocab_size, architecture.d_model)),))]


def classifier_head(architecture: Architecture, n_classes: int) -> list[Weight]:
    """The head of a Classifier."""
    return [_own("score.weight", n_classes, architecture.d_model)]


def _gpt2_weights(architecture: Architecture) -> Iterator[Weight]:
    d_model, width = architecture.d_model, architecture.feedforward_width

    def linear(ours: str, file: str, n_in: int, n_out: int) -> Iterator[Weight]:
        yield Weight(f"{ours}.weight", ((f"{file}.weight", (n_in, n_out)),), transposed=True)
        yield Weight(f"{ours}.bias", ((f"{file}.bias", (n_out,)),))

    def norm(ours: str, file: str) -> Iterator[Weight]:
        for kind in ("weight", "bias"):
            yield Weight(f"{ours}.{kind}", ((f"{file}.{kind}", (d_model,)),))

    embeddings = (("token", "wte", architecture.vocab_size), ("position", "wpe", architecture.context_length))
    for ours, file, n in embeddings:
        yield Weight(f"trunk.embeddings.{ours}.weight", ((f"transformer.{file}.weight", (n, d_model)),))
    for n in range(architecture.n_layers):
        ours, file = f"trunk.blocks.{n}", f"transformer.h.{n}"
        yield from norm(f"{ours}.attention_norm", f"{file}.ln_1")
        yield from linear(f"{ours}.attention.qkv", f"{file}.attn.c_attn", d_model, 3 * d_model)
        yield from linear(f"{ours}.attention.projection", f"{file}.attn.c_proj", d_model, d_model)
        yield from norm(f"{ours}.feedforward_norm", f"{file}.ln_2")
        yield from linear(f"{ours}.feedforward.up", f"{file}.mlp.c_fc", d_model, width)
        yield from linear(f"{ours}.feedforward.down", f"{file}.mlp.c_proj", width, d_model)
    yield from norm("trunk.final_norm", "transformer.ln_f")


def _llama_weights(architecture: Architecture) -> Iterator[Weight]:
    d_model, width = architecture.d_model, architecture.feedforward_width

    def linear(ours: str, n_in: int, *parts: tuple[str, int]) -> Iterator[Weight]:
        yield Weight(f"{ours}.weight", tuple((f"{file}.weight", (n_out, n_in)) for file, n_out in parts))
        if architecture.bias:
            yield Weight(f"{ours}.bias", tuple((f"{file}.bias", (n_out,)) for file, n_out in parts))

    def norm(ours: str, file: str) -> Weight:
        return Weight(f"{ours}.weight", ((f"{file}.weight", (d_model,)),))

    yield Weight("trunk.embeddings.token.weight", (("model.embed_tokens.weight", (architecture.vocab_size, d_model)),))
    for n in range(architecture.n_layers):
        ours, file = f"trunk.blocks.{n}", f"model.layers.{n}"
        attention, feedforward = f"{file}.self_attn", f"{file}.mlp"
        heads = (("q", d_model), ("k", architecture.kv_width), ("v", architecture.kv_width))
        yield norm(f"{ours}.attention_norm", f"{file}.input_layernorm")
        qkv = ((f"{attention}.{head}_proj", n_out) for head, n_out in heads)
        yield from linear(f"{ours}.attention.qkv", d_model, *qkv)
        yield from linear(f"{ours}.attention.projection", d_model, (f"{attention}.o_proj", d_model))
        yield norm(f"{ours}.feedforward_norm", f"{file}.post_attention_layernorm")
        yield from linear(f"{ours}.feedforward.gate", d_model, (f"{feedforward}.gate_proj", width))
        yield from linear(f"{ours}.feedforward.up", d_model, (f"{feedforward}.up_proj", width))
        yield from linear(f"{ours}.feedforward.down", width, (f"{feedforward}.down_proj", d_model))
    yield norm("trunk.final_norm", "model.norm")


def _own_weights(architecture: Architecture) -> Iterator[Weight]:
    d_model, width = architecture.d_model, architecture.feedforward_width

    def linear(name: str, n_in: int, n_out: int) -> Iterator[Weight]:
        yield _own(f"{name}.weight", n_out, n_in)
        if architecture.bias:
            yield _own(f"{name}.bias", n_out)

    def norm(name: str) -> Iterator[Weight]:
        yield _own(f"{name}.weight", d_model)
        if architecture.bias and architecture.norm == "layer_norm":
            yield _own(f"{name}.bias", d_model)

    yield _own("trunk.embeddings.token.weight", architecture.vocab_size, d_model)
    if architecture.position == "learned":
        yield _own("trunk.embeddings.position.weight", architecture.context_length, d_model)
    for n in range(architecture.n_layers):
        block = f"trunk.blocks.{n}"
        yield from norm(f"{block}.attention_norm")
        yield from linear(f"{block}.attention.qkv", d_model, d_model + 2 * architecture.kv_width)
        yield from linear(f"{block}.attention.projection", d_model, d_model)
        yield from norm(f"{block}.feedforward_norm")
        for name in ("gate", "up") if architecture.is_gated else ("up",):
            yield from linear(f"{block}.feedforward.{name}", d_model, width)
        yield from linear(f"{block}.feedforward.down", width, d_model)
    yield from norm("trunk.final_norm")


def _own(name: str, *shape: int) -> Weight:
    return Weight(name, ((name, shape),))
