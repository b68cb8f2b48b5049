"""A transformer block: talk to the other positions, then think alone, each added to the residual stream."""

import torch
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture
from gptsmith.model.attention import Layout, MultiHeadSelfAttention
from gptsmith.model.feedforward import FeedForward
from gptsmith.model.normalization import new_norm
from gptsmith.model.rotary import Rotation


class TransformerBlock(nn.Module):
    """Pre-norm: normalisation on the way into each part, none on the residual stream itself (Radford et al., 2019,
    section 2.3)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.attention_norm = new_norm(architecture)
        self.attention = MultiHeadSelfAttention(architecture)
        self.feedforward_norm = new_norm(architecture)
        self.feedforward = FeedForward(architecture)

    def forward(self, hidden: Tensor, rotation: Rotation | None, layout: Layout | None = None) -> Tensor:
        """hidden [batch, length, d_model] -> [batch, length, d_model]; rotation and layout as in the attention."""
        hidden = hidden + self.attention(self.attention_norm(hidden), rotation, layout)
        return hidden + self.feedforward(self.feedforward_norm(hidden))

    def forward_at(self, hidden: Tensor, rotation: Rotation | None, positions: Tensor) -> Tensor:
        """hidden [batch, length, d_model], positions [batch] -> [batch, d_model]: what `forward` gives
        at one position a row. The other positions cost their normalisation and what the attention says."""
        here = hidden[torch.arange(len(hidden), device=hidden.device), positions]
        here = here + self.attention.forward_at(self.attention_norm(hidden), rotation, positions)
        return here + self.feedforward(self.feedforward_norm(here))
