"""Weights of GGUF files, llama.cpp's format: models of the Llama family, quantized or not.

`gptsmith.sources.gguf` reads what the file says of itself, and the `gguf` library turns quantized numbers into float32.
What is left to do here: to check it all, and to give the tensors our names and order of rows.
"""

import math
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from torch import Tensor

from gptsmith.checkpoint.files import save_imported
from gptsmith.checkpoint.gguf_keys import EMBEDDING, HEAD, from_gguf_keys
from gptsmith.checkpoint.names import LANGUAGE_MODEL_HEAD, Weight, language_model_head, trunk_weights
from gptsmith.config.architecture import Architecture
from gptsmith.config.conventions import VOCABULARY
from gptsmith.errors import UserError
from gptsmith.files import read_json
from gptsmith.model.heads import LanguageModel
from gptsmith.sources.gguf import Header, read_header
from gptsmith.tokenizer.fast import load_tokenizer

# What transformers calls a tensor (gptsmith.checkpoint.names) -> what llama.cpp does; of blocks the part of the name.
TENSORS = {
    "model.embed_tokens.weight": EMBEDDING,
    "model.norm.weight": "output_norm.weight",
    LANGUAGE_MODEL_HEAD: HEAD,
}
BLOCK_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TURNED = (".attn_q.weight", ".attn_k.weight")
TYPES = {kind.value: kind for kind in GGMLQuantizationType}


def convert_gguf(path: Path, tokenizer: Path, folder: Path) -> None:
    """Make a checkpoint of a GGUF file's language model. tokenizer: folder of its tokenizer.

    Raises UserError when the file is damaged, holds another kind of model, or has other tokens.
    """
    header = read_header(path)
    loaded = load_tokenizer(tokenizer, tokenizer.name)
    _check_tokens(header, tokenizer)
    save_imported(_load(header), folder, loaded.vocab_size, loaded.end_of_text)


def load_gguf(path: Path) -> LanguageModel:
    """The file's language model: on the CPU, float32, in evaluation mode.

    Raises UserError for a file that is no GGUF or is damaged, and for a model of another kind than Llama's.
    """
    return _load(read_header(path))


def _check_tokens(header: Header, tokenizer: Path) -> None:
    """Another tokenizer would make numbers that mean other words. (The file may have more tokens, as padding.)"""
    ids, tokens = read_json(tokenizer / VOCABULARY), header.get("tokenizer.ggml.tokens", list)
    for token, i in ids.items():
        if i >= len(tokens) or tokens[i] != token:
            found = repr(tokens[i]) if i < len(tokens) else "none"
            raise UserError(
                f"{header.path}: token {i} is {found}, but {token!r} in {tokenizer}: they do not belong together; "
                "take the tokenizer from the same file (tokenizers.<name>.gguf)"
            )


def _load(header: Header) -> LanguageModel:
    architecture = from_gguf_keys(header)
    # One more than the file can have is enough to see that something is missing, whatever its keys ask for.
    expected = chain(trunk_weights(architecture), language_model_head(architecture))
    weights = list(islice(expected, len(header.tensors) + 1))
    if problem := next(_problems(header, weights), None):
        raise UserError(f"{header.path} does not hold the weights expected: {problem}")
    content = np.memmap(header.path, mode="r")
    state = {weight.name: _tensor(header, content, weight, architecture) for weight in weights}
    with torch.device("meta"):
        model = LanguageModel(architecture)
    model.load_state_dict(state, assign=True)
    return model.eval()


def _problems(header: Header, weights: list[Weight]) -> Iterator[str]:
    shapes = {_name(place): shape for weight in weights for place, shape in weight.parts}
    n_bytes = 0
    for name, expected in shapes.items():
        if (tensor := header.tensors.get(name)) is None:
            yield f"{name} is missing"
            continue
        if tensor.shape != expected:
            yield f"{name}: expected shape {list(expected)}, found {list(tensor.shape)}"
        elif tensor.type_code not in TYPES:
            yield f"{name}: there is no type {tensor.type_code} of numbers"
        elif expected[-1] % GGML_QUANT_SIZES[TYPES[tensor.type_code]][0]:
            yield f"{name}: rows of {expected[-1]} are no whole blocks of {TYPES[tensor.type_code].name}"
        else:
            size = _size(expected, tensor.type_code)
            n_bytes += size
            if tensor.offset + size > header.n_bytes:
                yield f"{name}: the file ends too early; fetch it again"
    # Otherwise a small file could ask for as much memory as it likes.
    if n_bytes > header.n_bytes:
        yield "some of them share their place"
    for name in sorted(header.tensors.keys() - shapes.keys()):
        yield f"{name!r} is not part of a plain Llama"


def _size(shape: tuple[int, ...], type_code: int) -> int:
    """In bytes."""
    of_block, block_bytes = GGML_QUANT_SIZES[TYPES[type_code]]
    return math.prod(shape) // of_block * block_bytes


def _tensor(header: Header, content: np.ndarray, weight: Weight, architecture: Architecture) -> Tensor:
    parts = []
    for place, shape in weight.parts:
        tensor = header.tensors[_name(place)]
        kind = TYPES[tensor.type_code]
        packed = content[tensor.offset :][: _size(shape, tensor.type_code)].reshape(*shape[:-1], -1)
        try:
            values = dequantize(packed, kind).reshape(shape)
        except NotImplementedError as error:
            raise UserError(f"{header.path}: {_name(place)}: weights of the type {kind.name} cannot be read") from error
        parts.append(_halves(values, architecture.head_width) if _name(place).endswith(TURNED) else values)
    # Numbers that are not quantized are still those of the mapped file, which cannot be written to.
    return torch.from_numpy(np.require(parts[0] if len(parts) == 1 else np.concatenate(parts), requirements=["C", "W"]))


def _name(place: str) -> str:
    """llama.cpp's name of a tensor that transformers calls `place`."""
    if place in TENSORS:
        return TENSORS[place]
    _, _, n, part = place.removesuffix(".weight").split(".", 3)
    return f"blk.{n}.{BLOCK_TENSORS[part]}.weight"


def _halves(rows: np.ndarray, head_width: int) -> np.ndarray:
    """llama.cpp turns neighbouring rows of a head as pairs, we a row of its first half with one of its second
    (gptsmith.model.rotary)."""
    return rows.reshape(-1, head_width // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
