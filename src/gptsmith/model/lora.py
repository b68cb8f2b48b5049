"""Low-rank adapters: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).

A frozen weight W [out, in] becomes W + (alpha / rank) B A with A [rank, in] random and B [out, rank]
zero, so the adapted model starts as the one it was made from, and only A and B are trained.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gptsmith.model.block import TransformerBlock


class LoRALinear(nn.Module):
    """A linear layer with an adapter. Like nn.Linear it has `weight` and `bias`."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        a = torch.empty(rank, base.in_features)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.a = nn.Parameter(a.to(base.weight))
        self.b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]."""
        return self.base(x) + functional.linear(functional.linear(x, self.a), self.scale * self.b)

    @property
    def weight(self) -> Tensor:
        """The adapted weight [out_features, in_features]."""
        return self.base.weight + self.scale * self.b @ self.a

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias


def add_lora(model: nn.Module, rank: int, alpha: float, generator: torch.Generator) -> None:
    """Put an adapter on the linear layers of every block of `model` and freeze everything else.
    Who wants a new head trained too unfreezes it afterwards."""
    model.requires_grad_(False)
    for part, name in _linear_layers(model):
        setattr(part, name, LoRALinear(getattr(part, name), rank, alpha, generator))


@torch.no_grad()
def merge_lora(model: nn.Module) -> None:
    """Turn every LoRALinear of `model` back into a plain nn.Linear (frozen) that computes the same."""
    for part, name in _linear_layers(model):
        adapted = getattr(part, name)
        adapted.base.weight.copy_(adapted.weight)
        setattr(part, name, adapted.base)


def adapter_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' tensors alone: names as in `model.state_dict()`, ending in `.a` and `.b`."""
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoRALinear)]
    state = model.state_dict()
    return {f"{name}.{part}": state[f"{name}.{part}"] for name in adapted for part in ("a", "b")}


def _linear_layers(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """(module, attribute) of the linear layers in the blocks of `model`."""
    blocks = [module for module in model.modules() if isinstance(module, TransformerBlock)]
    layers: list[tuple[nn.Module, str]] = []
    for block in blocks:
        layers += [(block.attention, "qkv"), (block.attention, "projection")]
        layers += [(block.feedforward, name) for name in ("gate", "up", "down") if getattr(block.feedforward, name)]
    return layers
