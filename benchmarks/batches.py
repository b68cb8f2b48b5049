"""Batches: how large those of a whole task are, and our data that announce theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import nn

from benchmarks.turns import EVALUATION, TRAINING, Side
from gptsmith.training.examples import Batch, Examples, batches_by_length, epoch_batches

SEED = 123


@dataclass(frozen=True)
class Announced:
    """Our examples, announcing each batch to a side of the measurement."""

    examples: Examples
    model: nn.Module
    side: Side

    @cached_property
    def lengths(self) -> np.ndarray:
        return self.examples.lengths

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        kind = TRAINING if self.model.training else EVALUATION
        self.side.begin(kind, padded(self.lengths[np.asarray(indices)]))
        return self.examples.batch(indices)


def padded(lengths: np.ndarray) -> int:
    """Positions of a batch of texts padded to the longest of them."""
    return int(len(lengths) * lengths.max())


def training_sizes(lengths: np.ndarray, batch_size: int, epochs: int) -> list[int]:
    """Positions of each batch of our training."""
    batches = (epoch_batches(lengths, batch_size, SEED, epoch) for epoch in range(epochs))
    return [padded(lengths[batch]) for epoch in batches for batch in epoch]


def evaluation_sizes(lengths: np.ndarray, batch_size: int) -> list[int]:
    """Positions of each batch of one of our evaluations."""
    return [padded(lengths[batch]) for batch in batches_by_length(lengths, batch_size)]


def shuffled_sizes(lengths: np.ndarray, batch_size: int, *, drop_last: bool) -> list[int]:
    """Positions of each batch of an epoch in random order, as the peers have it."""
    order = np.random.default_rng(SEED).permutation(len(lengths))
    stop = len(order) - (len(order) % batch_size if drop_last else 0)
    return [padded(lengths[order[at : min(at + batch_size, stop)]]) for at in range(0, stop, batch_size)]
