"""The keys by which transformers' GPT2Config and LlamaConfig say what our `architecture` says."""

from pathlib import Path
from typing import Any

from gptsmith.checkpoint.names import family_of
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError

# gelu_new and gelu_pytorch_tanh are two names of one function.
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
ACTIVATION_NAMES = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}

# Where transformers' configurations can ask for another computation, the value that is the one of this package.
FIXED: dict[str, dict[str, Any]] = {
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    },
    "llama": {"hidden_act": "silu", "pretraining_tp": 1, "rope_scaling": None},
}
READABLE = tuple(FIXED)


def transformers_keys(architecture: Architecture) -> dict[str, Any]:
    """None for a model that transformers does not have."""
    match family_of(architecture):
        case "gpt2":
            return _to_gpt2_keys(architecture)
        case "llama":
            return _to_llama_keys(architecture)
        case "gptsmith":
            return {}


def _to_gpt2_keys(architecture: Architecture) -> dict[str, Any]:
    return {
        "n_positions": architecture.context_length,
        "n_ctx": architecture.context_length,
        "n_embd": architecture.d_model,
        "n_layer": architecture.n_layers,
        "n_head": architecture.n_heads,
        "n_inner": architecture.d_feedforward,
        "activation_function": ACTIVATION_NAMES[architecture.activation],
        "layer_norm_epsilon": architecture.norm_epsilon,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def _to_llama_keys(architecture: Architecture) -> dict[str, Any]:
    return {
        "max_position_embeddings": architecture.context_length,
        "hidden_size": architecture.d_model,
        "num_hidden_layers": architecture.n_layers,
        "num_attention_heads": architecture.n_heads,
        "num_key_value_heads": architecture.kv_heads,
        "head_dim": architecture.head_width,
        "intermediate_size": architecture.feedforward_width,
        "hidden_act": "silu",
        "rms_norm_eps": architecture.norm_epsilon,
        "rope_theta": architecture.rope_theta,
        "attention_bias": architecture.bias,
        "mlp_bias": architecture.bias,
        "attention_dropout": 0.0,
    }


def from_transformers_keys(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What Architecture is validated from. Keys that may be left out mean what the defaults of transformers'
    configurations say.

    Raises UserError for a missing key, and for a setting that this package does not have.
    """
    family = config["model_type"]
    for key, value in FIXED.get(family, {}).items():
        if config.get(key, value) != value:
            raise UserError(f"{path}: {key} is {config[key]}; only {value} can be loaded")
    try:
        match family:
            case "gpt2":
                return _from_gpt2_keys(path, config)
            case "llama":
                return _from_llama_keys(path, config)
        return {"architecture": config["architecture"]}  # which every checkpoint of this family has
    except KeyError as error:
        raise UserError(f"{path}: {error.args[0]} is missing") from error


def _from_gpt2_keys(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    activation = config.get("activation_function", "gelu_new")
    if activation not in list(ACTIVATIONS):
        raise UserError(f"{path}: activation_function is {activation!r}; known are {', '.join(ACTIVATIONS)}")
    return {
        "vocab_size": config["vocab_size"],
        "context_length": config["n_positions"],
        "d_model": config["n_embd"],
        "n_layers": config["n_layer"],
        "n_heads": config["n_head"],
        "d_feedforward": config.get("n_inner"),
        "activation": ACTIVATIONS[activation],
        "tie_embeddings": config.get("tie_word_embeddings", True),
        "norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
    }


def _from_llama_keys(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    # Since version 5 transformers writes the wavelengths as a mapping.
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise UserError(f"{path}: rope_parameters is {rope}; only the type 'default' can be loaded")
    biases = {config.get(key, False) for key in ("attention_bias", "mlp_bias")}
    if len(biases) > 1:
        raise UserError(f"{path}: attention_bias and mlp_bias differ; only both or neither can be loaded")
    n_heads = config["num_attention_heads"]
    head_width = config.get("head_dim") or config["hidden_size"] // n_heads
    if head_width * n_heads != config["hidden_size"]:
        raise UserError(f"{path}: head_dim is {head_width}; only hidden_size / num_attention_heads can be loaded")
    return {
        "vocab_size": config["vocab_size"],
        "context_length": config.get("max_position_embeddings", 2048),
        "d_model": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": n_heads,
        "n_kv_heads": config.get("num_key_value_heads"),
        "position": "rotary",
        "rope_theta": rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        "norm": "rms_norm",
        "norm_epsilon": config.get("rms_norm_eps", 1e-6),
        "d_feedforward": config["intermediate_size"],
        "activation": "swiglu",
        "bias": biases.pop(),
        "tie_embeddings": config.get("tie_word_embeddings", False),
    }
