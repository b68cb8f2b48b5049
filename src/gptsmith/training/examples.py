"""Token sequences as batches of tensors: for classification and for next-token prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

# Target of a position that nothing is learned from (torch's own default for cross-entropy).
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Sequences padded at the right to the longest of them."""

    input_ids: Tensor
    """int64 [batch, length]"""
    lengths: Tensor
    """int64 [batch], tokens before the padding"""
    targets: Tensor
    """int64 [batch], the class; or int64 [batch, length], the next token or IGNORED"""
    n_targets: int
    """How many targets are not IGNORED: what the batch's loss is the mean over."""
    n_shared: int = 0
    """How many tokens all rows begin with alike, and learn from alike but for the last of them; fewer than the
    longest row has, and 0 for a single row"""
    hidden: Tensor | None = None
    """float [batch, length, d_model], what the first `n_blocks` blocks make of `input_ids`, where that is known"""
    n_blocks: int = 0

    def to(self, device: torch.device) -> "Batch":
        """This batch on `device`. A CUDA GPU fetches it from pinned memory when it gets there; nothing waits."""
        tensors: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        if device.type == "cuda":
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


class Examples(Protocol):
    """What the training loop needs to know of its data."""

    @property
    def lengths(self) -> np.ndarray:
        """int64 [examples], tokens of each."""
        ...

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch: ...


@dataclass(frozen=True)
class ClassificationExamples:
    """Texts with one label each."""

    input_ids: list[np.ndarray]
    labels: np.ndarray
    padding: int

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        chosen = [self.input_ids[index] for index in indices]
        targets = torch.from_numpy(self.labels[np.asarray(indices)].astype(np.int64))
        return Batch(_pad(chosen, self.padding), _lengths(chosen), targets, n_targets=len(chosen))


@dataclass(frozen=True)
class LanguageExamples:
    """Sequences of which each token from `first_target` on is predicted from those before it."""

    input_ids: list[np.ndarray]
    """At least two tokens each: the last is only ever a target."""
    first_targets: np.ndarray
    """int64 [examples], place of the first token to learn, at least 1."""
    padding: int

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(ids) - 1 for ids in self.input_ids], dtype=np.int64)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        sequences = [self.input_ids[index] for index in indices]
        inputs = [sequence[:-1] for sequence in sequences]
        targets = _pad([sequence[1:] for sequence in sequences], IGNORED)
        for row, index in enumerate(indices):
            targets[row, : self.first_targets[index] - 1] = IGNORED
        n_targets = int((targets != IGNORED).sum())
        n_shared = min(common_beginning(inputs), max(map(len, inputs)) - 1) if len(inputs) > 1 else 0
        first_targets = self.first_targets[np.asarray(indices)]
        if not (first_targets == first_targets[0]).all():
            n_shared = min(n_shared, int(first_targets.min()))
        return Batch(_pad(inputs, self.padding), _lengths(inputs), targets, n_targets, n_shared)


@dataclass(frozen=True)
class ChosenExamples:
    """Some of the examples, as if there were no others."""

    examples: Examples
    rows: np.ndarray
    """int64 [chosen examples], their numbers"""

    @property
    def lengths(self) -> np.ndarray:
        return self.examples.lengths[self.rows]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        return self.examples.batch(self.rows[np.asarray(indices)])


def sliding_windows(stream: np.ndarray, window: int, stride: int, padding: int) -> LanguageExamples:
    """Cut one long token sequence into windows of `window` inputs, each `stride` after the last.

    The last window ends with the stream, however short it is (at least one input and its target).
    """
    starts = range(0, max(len(stream) - 1, 0), stride)
    windows = [stream[start : start + window + 1] for start in starts]
    # With overlap the last windows would only repeat the end of an earlier one.
    last = next((index for index, start in enumerate(starts) if start + window + 1 >= len(stream)), len(windows))
    windows = windows[: last + 1]
    return LanguageExamples(windows, np.ones(len(windows), dtype=np.int64), padding)


def epoch_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Shuffled batches of example numbers for one epoch, each of similar lengths.

    Examples are shuffled, sorted by length within pools of `POOL` batches, cut into batches, and the
    batches shuffled: little padding, and a different company in every epoch. The order depends on
    `seed` and `epoch` alone.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    pool = POOL * batch_size
    batches = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[at : at + batch_size] for at in range(0, len(members), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


POOL = 50


def batches_by_length(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """All examples once, shortest first: the least padding, for evaluation."""
    order = np.argsort(lengths, kind="stable")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def _pad(sequences: list[np.ndarray], value: int) -> Tensor:
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return torch.from_numpy(padded)


def common_beginning(sequences: Sequence[Sequence[int] | np.ndarray]) -> int:
    """How many tokens all sequences begin with alike."""
    shortest = min(map(len, sequences))
    beginnings = np.stack([sequence[:shortest] for sequence in sequences])
    alike = (beginnings == beginnings[0]).all(axis=0)
    return shortest if alike.all() else int(alike.argmin())


def _lengths(sequences: list[np.ndarray]) -> Tensor:
    return torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
