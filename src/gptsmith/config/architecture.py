"""The shape of a GPT and what its parts are: a mapping in the config, or the name of a published GPT-2 size."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, PositiveFloat, PositiveInt, model_validator

from gptsmith.config.strict import STRICT


class Architecture(BaseModel):
    """A decoder-only transformer. The defaults are GPT-2: Radford et al., "Language Models are Unsupervised Multitask
    Learners" (2019), section 2.3. `norm: rms_norm`, `position: rotary`, `activation: swiglu` and `bias: false` together
    are the Llama family: Touvron et al., "LLaMA" (2023), section 2.2."""

    model_config = STRICT

    vocab_size: PositiveInt = 50257
    """Number of tokens. May be left out: the model's tokenizer gives it."""
    context_length: PositiveInt = 1024
    """Longest sequence, in tokens; with learned positions, the number of their embeddings."""
    d_model: PositiveInt = 768
    """Width of the residual stream."""
    n_layers: PositiveInt = 12
    """Number of transformer blocks."""
    n_heads: PositiveInt = 12
    """Attention heads per block; `d_model` must be a multiple of it."""
    n_kv_heads: PositiveInt | None = None
    """Heads of keys and values, each shared by `n_heads` / `n_kv_heads` heads of queries (grouped-query attention,
    Ainslie et al. 2023); as many as `n_heads` when left out."""
    position: Literal["learned", "rotary"] = "learned"
    """How a token's place is told: by a learned vector added to the token's, or by turning queries and keys (Su et al.
    2021)."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the wavelengths of `position: rotary`: the slowest pair turns once in some 2 pi x `rope_theta` tokens."""
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    """Normalisation on the way into each part: by mean and variance (Ba et al. 2016), or by the root mean square alone
    (Zhang and Sennrich 2019)."""
    norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance, or to the mean square."""
    d_feedforward: PositiveInt | None = None
    """Width of the feed-forward layer; when left out 4 x `d_model`, or two thirds of it where a gate brings a third
    matrix, which makes as many parameters (Shazeer 2020, section 2)."""
    activation: Literal["gelu_tanh", "gelu", "relu", "swiglu"] = "gelu_tanh"
    """Non-linearity of the feed-forward layer. GPT-2 uses the tanh approximation of GELU. `swiglu` multiplies by a
    gate, SiLU of another projection (Shazeer 2020)."""
    bias: bool = True
    """Whether the linear layers of the blocks, and layer normalisation, add a bias."""
    tie_embeddings: bool = True
    """Whether the language-model head shares its weights with the token embedding."""
    attention: Literal["fused", "explicit"] = "fused"
    """`fused` calls torch's scaled_dot_product_attention; `explicit` computes softmax(QK^T/sqrt(d))V step by step.
    Both give the same numbers up to rounding."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of n_heads ({self.n_heads})")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        if self.position == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions turn pairs: d_model / n_heads ({self.head_width}) must be even")
        return self

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward layer has a gate."""
        return self.activation == "swiglu"

    @property
    def feedforward_width(self) -> int:
        return self.d_feedforward or (8 * self.d_model // 3 if self.is_gated else 4 * self.d_model)

    @property
    def attends_to_all(self) -> bool:
        """Whether the attention is one softmax over all positions up to its own."""
        return self.attention in ("fused", "explicit")

    @property
    def head_width(self) -> int:
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def kv_width(self) -> int:
        """Of all heads of the keys together, and of the values."""
        return self.kv_heads * self.head_width

    @property
    def n_parameters(self) -> int:
        """Trainable numbers of the language model (a tied head counted once)."""
        d, kv, ff = self.d_model, self.kv_width, self.feedforward_width
        n_up = 2 if self.is_gated else 1
        matrices = d * (d + 2 * kv) + d * d + n_up * d * ff + ff * d
        biases = (d + 2 * kv) + d + n_up * ff + d if self.bias else 0
        norm = 2 * d if self.norm == "layer_norm" and self.bias else d
        positions = self.context_length if self.position == "learned" else 0
        head = 0 if self.tie_embeddings else self.vocab_size * d
        return (self.vocab_size + positions) * d + self.n_layers * (matrices + biases + 2 * norm) + norm + head


# Table 2 of the paper. Its parameter counts (117M ...) are not these: see n_parameters.
GPT2_SIZES = {
    "gpt2-small": Architecture(),
    "gpt2-medium": Architecture(d_model=1024, n_layers=24, n_heads=16),
    "gpt2-large": Architecture(d_model=1280, n_layers=36, n_heads=20),
    "gpt2-xl": Architecture(d_model=1600, n_layers=48, n_heads=25),
}


def _size_by_name(value: Any) -> Any:
    if isinstance(value, str):
        if value not in GPT2_SIZES:
            raise ValueError(f"no such size: {value}; known are {', '.join(GPT2_SIZES)}, or give a mapping")
        return GPT2_SIZES[value]
    return value


ArchitectureOrSize = Annotated[Architecture, BeforeValidator(_size_by_name, json_schema_input_type=Architecture | str)]
