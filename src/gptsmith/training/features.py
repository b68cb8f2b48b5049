"""Stored output of a frozen trunk: what the blocks that a training leaves alone make of every text.

Where only the last blocks or the head are trained, the blocks below give the same hidden states in every epoch,
for every seed and in every run that differs only above them. So they run once, and the hidden states of a split
are kept as one .npy file that is read through a memory map: float32 [positions, d_model], one example after the
other. An example has all its positions there, or only the last where nothing but a classifier's head comes after.

A file that would be larger than the limit is left without dimensions instead: the blocks then run in every epoch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

from gptsmith.checkpoint.configuration import read_config
from gptsmith.checkpoint.files import load_language_model
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.model.gpt import GPT
from gptsmith.tokenizer.tokens import read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.examples import Batch, ClassificationExamples, Examples, LanguageExamples, batches_by_length
from gptsmith.training.progress import progress
from gptsmith.training.tasks import classification_examples, instruction_examples

BATCH_SIZE = 32
# Bounds the memory of the stage: this many hidden states at a time.
POSITIONS_AT_ONCE = 16384


@dataclass(frozen=True)
class FeatureExamples:
    """Examples whose batches carry the hidden states that `n_blocks` frozen blocks make of them."""

    examples: ClassificationExamples | LanguageExamples
    features: np.ndarray
    """float32 [positions, d_model]"""
    n_positions: np.ndarray
    """int64 [examples], how many of them belong to each example"""
    n_blocks: int

    @property
    def lengths(self) -> np.ndarray:
        return self.examples.lengths

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        n_positions = self.n_positions[np.asarray(indices)]
        starts = self._starts[np.asarray(indices)]
        hidden = np.zeros((len(indices), n_positions.max(), self.features.shape[1]), dtype=np.float32)
        for row, (start, n) in enumerate(zip(starts, n_positions, strict=True)):
            hidden[row, :n] = self.features[start : start + n]
        return replace(
            self.examples.batch(indices),
            lengths=torch.from_numpy(n_positions),
            hidden=torch.from_numpy(hidden),
            n_blocks=self.n_blocks,
        )

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum(self.n_positions) - self.n_positions


def n_frozen_blocks(trunk: GPT, trained_blocks: int) -> int:
    """How many blocks there are below the last `trained_blocks`. Raises UserError when there are fewer than those."""
    n_layers = trunk.architecture.n_layers
    if trained_blocks > n_layers:
        raise UserError(f"trainable.last_blocks: {trained_blocks} blocks, but the model has {n_layers}")
    return n_layers - trained_blocks


def with_features(
    examples: ClassificationExamples | LanguageExamples, path: Path, trunk: GPT, n_blocks: int
) -> Examples:
    """`examples` with the hidden states in the file `path`, or as they are where it says that it has none.

    Raises UserError when the file is missing or was made of other examples or another model.
    """
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); delete it and run again") from error
    if not features.ndim:
        return examples
    n_positions = _n_positions(examples, trunk, n_blocks)
    if features.shape != (n_positions.sum(), trunk.architecture.d_model):
        raise UserError(f"{path}: made of other texts or another model; delete it and run again")
    return FeatureExamples(examples, features, n_positions, n_blocks)


def _n_positions(examples: ClassificationExamples | LanguageExamples, trunk: GPT, n_blocks: int) -> np.ndarray:
    """How many hidden states of each example are needed above the first `n_blocks` blocks."""
    only_last = isinstance(examples, ClassificationExamples) and n_blocks == trunk.architecture.n_layers
    return np.ones_like(examples.lengths) if only_last else examples.lengths


def write_features(
    base: Path,
    tokens_file: Path,
    trained_blocks: int,
    max_length: int | None,
    limit_gb: float,
    compute: Compute,
    output: Path,
) -> None:
    """The stage: run the blocks below the last `trained_blocks` on the texts of a token file.

    max_length: as in the run's settings. limit_gb: largest file, in units of 10^9 bytes.

    Raises UserError when the model has fewer blocks.
    """
    trunk = load_language_model(base).trunk.to(compute.device)
    n_blocks = n_frozen_blocks(trunk, trained_blocks)
    tokens, end_of_text = read_tokens(tokens_file), read_config(base)["eos_token_id"]
    max_length = min(max_length or trunk.architecture.context_length, trunk.architecture.context_length)
    examples: ClassificationExamples | LanguageExamples
    if tokens.labels is not None:
        examples = classification_examples(tokens, max_length, end_of_text)
    else:
        examples = instruction_examples(tokens, max_length, end_of_text, loss_on="all")
    n_positions = _n_positions(examples, trunk, n_blocks)
    shape = (int(n_positions.sum()), trunk.architecture.d_model)
    gigabytes = 4 * shape[0] * shape[1] / 1e9
    if gigabytes > limit_gb:
        print(f"{output}: not stored, {gigabytes:.1f} GB are more than execution.features_gb", file=sys.stderr)
        with atomic_path(output) as temporary, temporary.open("wb") as file:
            np.save(file, np.zeros((), dtype=np.float32))
        return
    with (
        atomic_path(output) as temporary,
        temporary.open("wb") as file,
        progress(f"features of {tokens_file.stem}", len(n_positions), "text") as advance,
        compute.autocast(),
    ):
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for pool in _pools(n_positions):
            file.write(_pool_features(trunk, n_blocks, examples, pool, n_positions[pool], compute).data)
            advance(int(pool[-1]) + 1, lambda: f"{gigabytes:.1f} GB in all")


def _pools(n_positions: np.ndarray) -> list[np.ndarray]:
    """Consecutive example numbers, cut where they come to POSITIONS_AT_ONCE positions."""
    numbers = np.cumsum(n_positions) // POSITIONS_AT_ONCE
    return np.split(np.arange(len(n_positions)), np.flatnonzero(np.diff(numbers)) + 1) if len(n_positions) else []


# Not inference_mode, in which autocast would convert the weights anew for every product.
@torch.no_grad()
def _pool_features(
    trunk: GPT,
    n_blocks: int,
    examples: ClassificationExamples | LanguageExamples,
    pool: np.ndarray,
    n_positions: np.ndarray,
    compute: Compute,
) -> np.ndarray:
    """Hidden states float32 [positions of the examples `pool`, d_model], in their order."""
    parts: list[np.ndarray] = [np.empty(0)] * len(pool)
    for places in batches_by_length(examples.lengths[pool], BATCH_SIZE):
        batch = examples.batch(pool[places]).to(compute.device)
        hidden = trunk.lower(batch.input_ids, n_blocks).float().cpu().numpy()
        for place, row, length in zip(places, hidden, batch.lengths.tolist(), strict=True):
            parts[place] = row[length - n_positions[place] : length]
    return np.concatenate(parts)
