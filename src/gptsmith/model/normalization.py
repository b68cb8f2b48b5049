"""Keeping the hidden states at one scale on the way into each part."""

from torch import nn

from gptsmith.config.architecture import Architecture


def new_norm(architecture: Architecture) -> nn.LayerNorm | nn.RMSNorm:
    """A normalisation over [..., d_model], its weights not yet set."""
    if architecture.norm == "rms_norm":
        return nn.RMSNorm(architecture.d_model, eps=architecture.norm_epsilon)
    return nn.LayerNorm(architecture.d_model, eps=architecture.norm_epsilon, bias=architecture.bias)
