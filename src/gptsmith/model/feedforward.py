"""The part of a block that works on every position by itself."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from gptsmith.config.architecture import Architecture

# GPT-2 uses the tanh approximation: Hendrycks & Gimpel, "Gaussian Error Linear Units" (2016), section 2.
ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu": functional.gelu,
    "relu": functional.relu,
    "swiglu": functional.silu,  # of the gate
}


class FeedForward(nn.Module):
    """Up to feedforward_width (4 x d_model in GPT-2), a non-linearity, and down again. With a gate, a second projection
    goes through the non-linearity and multiplies the first: Shazeer, "GLU Variants Improve Transformer" (2020)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        d_model, width, bias = architecture.d_model, architecture.feedforward_width, architecture.bias
        self.gate = nn.Linear(d_model, width, bias) if architecture.is_gated else None
        self.up = nn.Linear(d_model, width, bias)
        self.activation = ACTIVATION[architecture.activation]
        self.down = nn.Linear(width, d_model, bias)
        self.residual_dropout = nn.Dropout(0.0)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., d_model] -> [..., d_model]."""
        up = self.up(hidden)
        wide = self.activation(up) if self.gate is None else self.activation(self.gate(hidden)) * up
        return self.residual_dropout(self.down(wide))
