"""AdamW over the trainable parameters, and its learning rate step by step."""

import math
from collections.abc import Iterable

import torch
from torch.nn import Parameter

from gptsmith.config.training import Training


def make_optimizer(parameters: Iterable[Parameter], settings: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); weight decay on matrices only, as GPT-2's descendants do.

    Decaying biases and layer-norm gains pulls them to 0, which is not where they belong.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), fused=True)


def learning_rate(step: int, n_steps: int, settings: Training) -> float:
    """Learning rate of step `step` (0 to n_steps - 1).

    Linear warm-up, then constant or a cosine (Loshchilov & Hutter 2017) down to
    `final_learning_rate_fraction` of the highest.
    """
    warmup = round(settings.warmup_fraction * n_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(1, n_steps - 1 - warmup)
    low = settings.final_learning_rate_fraction
    return settings.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))
