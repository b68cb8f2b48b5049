"""The least a task can take on a machine: its unavoidable work over the measured rates.

Counted are the matrix products (gptsmith.model.accounting) on real tokens only, done once wherever the result can be
used again; a backward pass costs twice its forward pass. Padding, normalisation, activation, softmax and all that
Python does are not work that must be done, so nothing quite reaches its floor.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.machine import Machine
from gptsmith.config.architecture import Architecture
from gptsmith.model.accounting import block_at_flops, block_flops, block_weights, cache_bytes, head_flops, weight_bytes

FORWARD_AND_BACKWARD = 3

# AdamW reads weight, gradient and two moments, and writes all but the gradient: float32.
OPTIMIZER_BYTES = 7 * 4


def trunk_flops(architecture: Architecture, lengths: np.ndarray, n_blocks: int, shared: int = 0) -> int:
    """Operations of `n_blocks` blocks, forward, for one batch of texts of `lengths` tokens, of which the first `shared`
    are the same in all and computed once."""
    repeated = len(lengths) - 1
    positions = int(lengths.sum()) - repeated * shared
    pairs = sum(map(_pairs, lengths.tolist())) - repeated * _pairs(shared)
    return n_blocks * block_flops(architecture, positions, pairs)


def _pairs(length: int) -> int:
    """Of a position and one that it sees: itself and those before."""
    return length * (length + 1) // 2


def features_floor(architecture: Architecture, splits: Sequence[np.ndarray], machine: Machine) -> float:
    """Seconds of all blocks but the last, once for every text of every split."""
    return sum(trunk_flops(architecture, lengths, architecture.n_layers - 1) for lengths in splits) / machine.flops


def last_block_floor(
    architecture: Architecture,
    train: np.ndarray,
    evaluated: np.ndarray,
    epochs: int,
    batch_size: int,
    machine: Machine,
) -> float:
    """Seconds of training the last block for the last position, on stored features, and of evaluating on it.

    evaluated: the lengths of all texts evaluated, each as often as it is.
    """
    trained_positions, evaluated_positions = epochs * int(train.sum()), int(evaluated.sum())
    flops = FORWARD_AND_BACKWARD * block_at_flops(architecture, epochs * len(train), trained_positions)
    flops += block_at_flops(architecture, len(evaluated), evaluated_positions)
    features = 4 * architecture.d_model * (trained_positions + evaluated_positions)
    steps = epochs * -(-len(train) // batch_size)
    optimizer = steps * block_weights(architecture) * OPTIMIZER_BYTES
    return flops / machine.flops + (features + optimizer) / machine.bandwidth


def fine_tuning_floor(
    architecture: Architecture, batches: Sequence[np.ndarray], supervised: int, shared: int, machine: Machine
) -> float:
    """Seconds of one step of all parameters for each of `batches` (lengths of its texts in tokens).

    supervised: positions of all batches together that have a target and so need logits; shared: tokens at the beginning
    of every text that are the same.
    """
    flops = sum(trunk_flops(architecture, lengths, architecture.n_layers, shared) for lengths in batches)
    flops += head_flops(architecture, supervised, architecture.vocab_size)
    moved = len(batches) * architecture.n_parameters * OPTIMIZER_BYTES
    return FORWARD_AND_BACKWARD * flops / machine.flops + moved / machine.bandwidth


def generation_floor(
    architecture: Architecture, prompts: np.ndarray, n_new: int, shared: int, machine: Machine
) -> float:
    """Seconds of `n_new` tokens after each of the prompts (their lengths), all at once.

    The prompts are read once, their common beginning once in all. After that a token for every prompt costs the weights
    and all keys and values read from memory, or the operations, whichever takes longer.
    """
    logits = head_flops(architecture, len(prompts), architecture.vocab_size)
    seconds = (trunk_flops(architecture, prompts, architecture.n_layers, shared) + logits) / machine.flops
    for step in range(1, n_new):
        seen = int((prompts + step).sum())
        flops = architecture.n_layers * block_flops(architecture, len(prompts), seen) + logits
        moved = weight_bytes(architecture) + seen * cache_bytes(architecture)
        seconds += max(flops / machine.flops, moved / machine.bandwidth)
    return seconds
