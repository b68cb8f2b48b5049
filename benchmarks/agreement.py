"""Do both sides compute the same? Their losses step by step, from the same weights on the same batches."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from benchmarks.batches import SEED
from gptsmith.config.training import Training
from gptsmith.training.compute import Compute
from gptsmith.training.examples import Batch, Examples
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import Loss

STEPS = 20
TOLERANCE = 1e-3


class DisagreementError(Exception):
    """The two sides do not do the same work, so their times say nothing."""


def plain_training(batch_size: int) -> Training:
    """One epoch of our training without what the peers' recipes lack, or have in another way."""
    return Training(
        epochs=1,
        batch_size=batch_size,
        learning_rate=5e-5,
        weight_decay=0.0,  # theirs decays biases and norms as well
        warmup_fraction=0.0,
        schedule="constant",
        gradient_clip=None,
        evaluations=1,
    )


def our_losses(
    model: nn.Module,
    objective: Callable[[Any, Batch], Loss],
    examples: Examples,
    nothing: Examples,
    compute: Compute,
    batch_size: int,
) -> list[float]:
    """The loss of each step of an epoch; `nothing` are no examples, to validate on."""
    setup = Setup[Any]("losses", model, objective, examples, nothing, compute, SEED)
    return [row.loss for row in train(setup, plain_training(batch_size)).history if row.split == "train"]


def require_agreement(what: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """A sentence for the notes. Raises DisagreementError when a loss differs by more than 1e-3."""
    if len(ours) != STEPS or len(theirs) != STEPS:
        raise DisagreementError(f"{what}: {len(ours)} and {len(theirs)} losses, not {STEPS}")
    largest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    if not largest <= TOLERANCE:
        raise DisagreementError(f"{what}: losses differ by up to {largest:.2g}: {ours} and {theirs}")
    return f"{what}: the losses of {STEPS} steps agree within {largest:.1g}"
