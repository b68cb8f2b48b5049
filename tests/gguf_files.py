"""GGUF files as the `gguf` library writes them, of small Llamas that transformers makes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from transformers import LlamaConfig, LlamaForCausalLM

from gptsmith.tokenizer.bpe import BYTE_TO_CHARACTER, train

TYPES = GGMLQuantizationType
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As in SmolLM2's file the special tokens come first.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NORMAL, CONTROL, UNUSED = 1, 3, 5
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
OTHERS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def byte_level_vocabulary(text: str, n_merges: int) -> tuple[list[str], list[str]]:
    """Tokens (special ones, bytes, merges) and merges, spelled as in GPT-2's files."""
    encoding = train([text], 257 + n_merges)
    spelled = ["".join(BYTE_TO_CHARACTER[byte] for byte in token) for token in encoding.tokens[:-1]]
    return [*SPECIAL, *spelled], [f"{spelled[left]} {spelled[right]}" for left, right in encoding.merges]


TOKENS, MERGES = byte_level_vocabulary("see you at six, win a prize now, repeat the word, say the number", 30)


def tiny_llama(**changes: Any) -> LlamaForCausalLM:
    """With random weights, large enough for decided answers."""
    shape = {
        "vocab_size": len(TOKENS),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(**shape | changes)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return model


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    kind: TYPES = TYPES.F32,
    *,
    keys: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray | None] | None = None,
) -> None:
    """Write `model` with weights of a type, norms as float32. keys, tensors: put in place of those of the same name;
    None leaves one out."""
    writer = GGUFWriter(path, arch="llama")
    writer.data_alignment = 32
    del writer.kv_data[0]["general.architecture"]
    for key, value in (_keys(model) | (keys or {})).items():
        _add(writer, key, value)
    for name, values in (_tensors(model) | (tensors or {})).items():
        if values is None:
            continue
        of_type = kind if values.ndim == 2 else TYPES.F32
        writer.add_tensor(name, quantize(np.ascontiguousarray(values), of_type), raw_dtype=of_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def _keys(model: LlamaForCausalLM) -> dict[str, Any]:
    config = model.config
    special = len(SPECIAL)
    return {
        "general.architecture": "llama",
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "llama.rope.dimension_count": config.hidden_size // config.num_attention_heads,
        "llama.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [CONTROL] * special + [NORMAL] * (len(TOKENS) - special),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def _tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    config, found = model.config, {}
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name in OTHERS:
            found[OTHERS[name]] = values
            continue
        _, _, n, part = name.removesuffix(".weight").split(".", 3)
        if part.endswith(("q_proj", "k_proj")):
            n_heads = config.num_attention_heads if part.endswith("q_proj") else config.num_key_value_heads
            values = values.reshape(n_heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        found[f"blk.{n}.{BLOCK_TENSORS[part]}.weight"] = values
    return found
