"""New models with random weights, as GPT-2 starts.

Normal with standard deviation 0.02 (Radford et al., "Improving Language Understanding by Generative
Pre-Training", 2018, section 4.1), and the projections into the residual stream scaled by
1 / sqrt(residual layers), two a block ("Language Models are Unsupervised Multitask Learners", 2019,
section 2.3).
"""

import math

import torch
from torch import nn

from gptsmith.config.architecture import Architecture
from gptsmith.model.block import TransformerBlock
from gptsmith.model.heads import Classifier, LanguageModel

STANDARD_DEVIATION = 0.02


def new_language_model(architecture: Architecture, generator: torch.Generator) -> LanguageModel:
    """A language model on the CPU; the same generator state gives the same weights."""
    with torch.device("meta"):
        model = LanguageModel(architecture)
    model.to_empty(device="cpu")
    initialize(model, generator)
    return model


def new_classifier(architecture: Architecture, n_classes: int, generator: torch.Generator) -> Classifier:
    """A classifier on the CPU; the same generator state gives the same weights."""
    with torch.device("meta"):
        model = Classifier(architecture, n_classes)
    model.to_empty(device="cpu")
    initialize(model, generator)
    return model


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Overwrite every parameter of `model` (on the generator's device) with its starting value."""
    blocks = [module for module in model.modules() if isinstance(module, TransformerBlock)]
    residual = {part for block in blocks for part in (block.attention.projection, block.feedforward.down)}
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            nn.init.ones_(module.weight)
            if isinstance(module, nn.LayerNorm) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Embedding):
            scale = 1 / math.sqrt(2 * len(blocks)) if module in residual else 1.0
            nn.init.normal_(module.weight, std=STANDARD_DEVIATION * scale, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
