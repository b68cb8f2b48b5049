"""Dropout belongs to a training, not to the weights: it can be set on a model that was loaded."""

from torch import nn


def set_dropout(model: nn.Module, probability: float) -> None:
    """Drop activations of `model` with this probability (0 to 1) while it is in training mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
