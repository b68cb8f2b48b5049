"""Which objective a run has, by its settings.

Apart from `gptsmith.training.objectives`, which pretraining imports: a change here trains no base model again.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import Tensor

from gptsmith.config.runs import Run
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.training.examples import Batch
from gptsmith.training.objectives import (
    Loss,
    balanced_class_weights,
    classification_loss,
    language_loss,
    language_loss_shared,
)


def classification_objective(run: Run, labels: np.ndarray, n_classes: int) -> Callable[[Classifier, Batch], Loss]:
    """labels: int [examples], those of the training split."""
    return partial(classification_loss, class_weights=class_weights(run, labels, n_classes))


def class_weights(run: Run, labels: np.ndarray, n_classes: int) -> Tensor | None:
    """float [n_classes], what a text of each class counts; None where all count alike."""
    return balanced_class_weights(labels, n_classes) if run.class_weights == "balanced" else None


def instruction_objective(run: Run) -> Callable[[LanguageModel, Batch], Loss]:
    return language_loss if run.training.dropout else language_loss_shared
