"""What is minimised: the cross-entropy of a class, or of the next token."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.training.examples import IGNORED, Batch


@dataclass(frozen=True)
class Loss:
    """Sums over the targets of a batch, so that parts of a batch add up to the whole."""

    total: Tensor
    """Cross-entropy in nats, scalar."""
    n_correct: Tensor | None
    """Targets that have the highest logit, scalar; None where accuracy is not reported."""


def classification_loss(model: Classifier, batch: Batch) -> Loss:
    """Cross-entropy of the class, read from the last real token."""
    logits = model(batch.input_ids, batch.lengths).float()
    total = functional.cross_entropy(logits, batch.targets, reduction="sum")
    return Loss(total, (logits.argmax(dim=-1) == batch.targets).sum())


def language_loss(model: LanguageModel, batch: Batch) -> Loss:
    """Cross-entropy of the next token (Radford et al. 2018, equation 1) at the supervised positions.

    Logits exist for those positions only: never a whole batch x length x vocabulary.
    """
    last_hidden_state = model.trunk(batch.input_ids)
    supervised = batch.targets != IGNORED
    logits = model.logits(last_hidden_state[supervised]).float()
    return Loss(functional.cross_entropy(logits, batch.targets[supervised], reduction="sum"), None)
