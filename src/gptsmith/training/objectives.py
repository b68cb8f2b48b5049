"""What is minimised: the cross-entropy of a class, or of the next token."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gptsmith.model.gpt import GPT
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.training.cross_entropy import token_cross_entropy
from gptsmith.training.examples import IGNORED, Batch


@dataclass(frozen=True)
class Loss:
    """Sums over the targets of a batch, so that parts of a batch add up to the whole."""

    total: Tensor
    """Cross-entropy in nats, scalar."""
    n_correct: Tensor | None
    """Targets that have the highest logit, scalar; None where accuracy is not reported."""


def classification_loss(model: Classifier, batch: Batch, class_weights: Tensor | None = None) -> Loss:
    """Cross-entropy of the class, read from the last real token.

    class_weights: float [n_classes], what each text of a class counts.
    """
    logits = class_logits(model, batch)
    weights = class_weights if class_weights is None else class_weights.to(logits.device)
    total = functional.cross_entropy(logits, batch.targets, weights, reduction="sum")
    return Loss(total, (logits.argmax(dim=-1) == batch.targets).sum())


def balanced_class_weights(labels: np.ndarray, n_classes: int) -> Tensor:
    """float [n_classes]: n / (n_classes x n of the class), as scikit-learn's `balanced`. labels is [examples].

    Over all examples they add up to n, so a mean over examples is still one; and parts of a batch still add up to the
    whole, which dividing by the weights of each batch (torch's own mean) would undo.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return torch.from_numpy(len(labels) / (n_classes * np.maximum(counts, 1))).float()


def class_logits(model: Classifier, batch: Batch) -> Tensor:
    """Logits float32 [batch, n_classes]."""
    return model.classify(_hidden(model.trunk, batch), batch.n_blocks, batch.lengths).float()


def language_loss(model: LanguageModel, batch: Batch) -> Loss:
    """Cross-entropy of the next token (Radford et al. 2018, equation 1) at the supervised positions."""
    last_hidden_state = model.trunk.upper(_hidden(model.trunk, batch), batch.n_blocks)
    return _next_token_loss(model, last_hidden_state, batch.targets)


def language_loss_shared(model: LanguageModel, batch: Batch) -> Loss:
    """`language_loss`, with the tokens that all rows begin with computed once.

    Not for a model with dropout: rows that share their beginning would share what is dropped of it.
    """
    if not batch.n_shared:
        return language_loss(model, batch)
    hidden = _hidden(model.trunk, batch)
    beginning, rest = model.trunk.upper_shared(hidden, batch.n_blocks, batch.n_shared)
    # The last shared token is followed by another one in each row; those before it by the same in all.
    last = beginning[:, -1:].expand(len(rest), -1, -1)
    loss = _next_token_loss(model, torch.cat([last, rest], dim=1), batch.targets[:, batch.n_shared - 1 :])
    beginning_targets = batch.targets[:1, : batch.n_shared - 1]
    if (beginning_targets == IGNORED).all():
        return loss
    beginning_loss = _next_token_loss(model, beginning[:, :-1], beginning_targets)
    return Loss(loss.total + len(rest) * beginning_loss.total, None)


def _hidden(trunk: GPT, batch: Batch) -> Tensor:
    """What the batch's blocks from number `n_blocks` on begin with."""
    return trunk.lower(batch.input_ids, 0) if batch.hidden is None else batch.hidden


def _next_token_loss(model: LanguageModel, last_hidden_state: Tensor, targets: Tensor) -> Loss:
    supervised = targets != IGNORED
    return Loss(token_cross_entropy(last_hidden_state[supervised], model.output_embedding, targets[supervised]), None)
