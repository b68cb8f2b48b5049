"""Rotary positions: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section 3.2.

Of each head of a query or key at position t, number i of the first half and number i of the second half are a point in
the plane, turned by the angle t x theta^(-2i / head_width). The product of a query and a key then depends on how far
they are apart, and not on where they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gptsmith.config.architecture import Architecture


@dataclass(frozen=True)
class Rotation:
    """By what a head is turned at each of some positions: float32 [length, head_width] both."""

    cosine: Tensor
    sine: Tensor

    def turn(self, heads: Tensor) -> Tensor:
        """heads [batch, n_heads, length, head_width] -> the same shape, turned."""
        first, second = heads.chunk(2, dim=-1)
        return (heads * self.cosine + torch.cat([-second, first], dim=-1) * self.sine).to(heads.dtype)

    def turn_at(self, heads: Tensor, positions: Tensor) -> Tensor:
        """heads [batch, n_heads, head_width], each row at one of the positions [batch] -> the same shape, turned."""
        here = Rotation(self.cosine[positions][:, None, None], self.sine[positions][:, None, None])
        return here.turn(heads[:, :, None])[:, :, 0]


def rotation_at(positions: Tensor, architecture: Architecture) -> Rotation | None:
    """For int positions [length]; None for a model that learns its positions."""
    if architecture.position == "learned":
        return None
    pairs = torch.arange(0, architecture.head_width, 2, dtype=torch.float32, device=positions.device)
    angles = positions[:, None] * architecture.rope_theta ** (-pairs / architecture.head_width)
    angles = torch.cat([angles, angles], dim=-1)
    return Rotation(angles.cos(), angles.sin())
