"""Which parameters of a model are trained."""

import torch

from gptsmith.config.runs import LastBlocks, LoRAOnly, Trainable
from gptsmith.errors import UserError
from gptsmith.model.gpt import GPT
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.lora import add_lora


def select_trainable(model: Classifier | LanguageModel, trainable: Trainable, generator: torch.Generator) -> None:
    """Freeze all parameters but those that `trainable` names, and a classifier's head, which is
    always trained because it is always new.

    Raises UserError when the model has fewer blocks than are asked for, or no head of its own.
    """
    if trainable == "all":
        return
    model.requires_grad_(False)
    if isinstance(trainable, LoRAOnly):
        add_lora(model, trainable.lora.rank, trainable.lora.alpha, generator)
    elif isinstance(trainable, LastBlocks):
        model.trunk.blocks[n_frozen_blocks(model.trunk, trainable.last_blocks) :].requires_grad_(True)
        model.trunk.final_norm.requires_grad_(True)
    if isinstance(model, Classifier):
        model.score.requires_grad_(True)
    elif trainable == "head":
        if model.head is None:
            raise UserError(
                "trainable: this language model's head is its token embedding (tie_embeddings) and cannot be"
                " trained alone; use all, last_blocks or lora"
            )
        model.head.requires_grad_(True)


def n_frozen_blocks(trunk: GPT, trained_blocks: int) -> int:
    """How many blocks there are below the last `trained_blocks`. Raises UserError when there are fewer than those."""
    n_layers = trunk.architecture.n_layers
    if trained_blocks > n_layers:
        raise UserError(f"trainable.last_blocks: {trained_blocks} blocks, but the model has {n_layers}")
    return n_layers - trained_blocks
