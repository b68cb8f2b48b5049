"""The keys by which a GGUF file says what our `architecture` says."""

from pydantic import ValidationError

from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.sources.gguf import Header

EMBEDDING, HEAD = "token_embd.weight", "output.weight"

# Of the keys that begin with `llama.`, those that are read,
READ = {
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "vocab_size",
}
# and those that may stand there with the value that is the one of this package.
HEAD_WIDTHS = ("rope.dimension_count", "attention.key_length", "attention.value_length")
NEUTRAL = {"rope.scaling.type": "none", "expert_count": 0, "expert_used_count": 0}


def from_gguf_keys(header: Header) -> Architecture:
    """Raises UserError for a missing key, a wrong value, a model of another kind than Llama's, and for a key that may
    ask for a computation that this package does not have."""
    if (kind := header.get("general.architecture", str)) != "llama":
        raise UserError(f"{header.path}: a model of the kind {kind!r}; only 'llama' can be loaded")
    if EMBEDDING not in header.tensors:
        raise UserError(f"{header.path}: {EMBEDDING} is missing")

    def number(key: str, default: int | None = None) -> int:
        return header.get(f"llama.{key}", int, default)

    n_heads = number("attention.head_count")
    fields = {
        "vocab_size": header.tensors[EMBEDDING].shape[0],
        "context_length": number("context_length"),
        "d_model": number("embedding_length"),
        "n_layers": number("block_count"),
        "n_heads": n_heads,
        "n_kv_heads": number("attention.head_count_kv", n_heads),
        "position": "rotary",
        "rope_theta": header.get("llama.rope.freq_base", float, 10000.0),
        "norm": "rms_norm",
        "norm_epsilon": header.get("llama.attention.layer_norm_rms_epsilon", float),
        "d_feedforward": number("feed_forward_length"),
        "activation": "swiglu",
        "bias": False,
        "tie_embeddings": HEAD not in header.tensors,
    }
    try:
        architecture = Architecture.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "keys of llama"
        raise UserError(f"{header.path}: {place}: {first['msg']}") from error
    _check_other_keys(header, architecture)
    return architecture


def _check_other_keys(header: Header, architecture: Architecture) -> None:
    allowed = NEUTRAL | dict.fromkeys(HEAD_WIDTHS, architecture.head_width)
    for key, value in header.values.items():
        part = key.removeprefix("llama.")
        if part == key or part in READ:
            continue
        if part not in allowed:
            raise UserError(f"{header.path}: {key!r} is set, which a plain Llama does not have; it cannot be loaded")
        if type(value) is not type(allowed[part]) or value != allowed[part]:
            raise UserError(f"{header.path}: {key!r} is {value!r}; only {allowed[part]!r} can be loaded")
