"""Which parameters of a model are trained."""

import torch

from gptsmith.config.runs import LastBlocks, LoRAOnly, Trainable
from gptsmith.errors import UserError
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.lora import add_lora
from gptsmith.training.features import n_frozen_blocks


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
