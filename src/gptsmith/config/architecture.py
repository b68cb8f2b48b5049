"""The shape of a GPT: a mapping in the config, or the name of a published GPT-2 size."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, PositiveInt, model_validator

from gptsmith.config.strict import STRICT


class Architecture(BaseModel):
    """Shape of the decoder-only transformer of Radford et al., "Language Models are Unsupervised
    Multitask Learners" (2019), section 2.3."""

    model_config = STRICT

    vocab_size: PositiveInt = 50257
    """Number of tokens. May be left out: the model's tokenizer gives it."""
    context_length: PositiveInt = 1024
    """Longest sequence, in tokens: the number of learned position embeddings."""
    d_model: PositiveInt = 768
    """Width of the residual stream."""
    n_layers: PositiveInt = 12
    """Number of transformer blocks."""
    n_heads: PositiveInt = 12
    """Attention heads per block; `d_model` must be a multiple of it."""
    d_feedforward: PositiveInt | None = None
    """Width of the feed-forward layer; 4 x `d_model` when left out."""
    activation: Literal["gelu_tanh", "gelu", "relu"] = "gelu_tanh"
    """Non-linearity of the feed-forward layer; GPT-2 uses the tanh approximation of GELU."""
    tie_embeddings: bool = True
    """Whether the language-model head shares its weights with the token embedding."""
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance in layer normalisation."""
    attention: Literal["fused", "explicit"] = "fused"
    """`fused` calls torch's scaled_dot_product_attention; `explicit` computes softmax(QK^T/sqrt(d))V step by step.
    Both give the same numbers up to rounding."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of n_heads ({self.n_heads})")
        return self

    @property
    def feedforward_width(self) -> int:
        return self.d_feedforward or 4 * self.d_model

    @property
    def is_gpt2(self) -> bool:
        """Whether it computes what transformers' GPT-2 does, given the same weights."""
        return self.attention in ("fused", "explicit")

    @property
    def head_width(self) -> int:
        return self.d_model // self.n_heads

    @property
    def n_parameters(self) -> int:
        """Trainable numbers of the language model (a tied head counted once)."""
        d, ff = self.d_model, self.feedforward_width
        attention = 4 * d * d + 4 * d
        feedforward = 2 * d * ff + ff + d
        layer_norms = 2 * 2 * d
        head = 0 if self.tie_embeddings else self.vocab_size * d
        embeddings = (self.vocab_size + self.context_length) * d
        return embeddings + self.n_layers * (attention + feedforward + layer_norms) + 2 * d + head


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
