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
}


class FeedForward(nn.Module):
    """Up to feedforward_width (4 x d_model in GPT-2), a non-linearity, and down again."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.up = nn.Linear(architecture.d_model, architecture.feedforward_width)
        self.activation = ACTIVATION[architecture.activation]
        self.down = nn.Linear(architecture.feedforward_width, architecture.d_model)
        self.residual_dropout = nn.Dropout(0.0)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., d_model] -> [..., d_model]."""
        return self.residual_dropout(self.down(self.activation(self.up(hidden))))
