"""How fast a training is: tokens a second, and the share of what the machine's matrix products could do."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gptsmith.model.accounting import block_at_flops, block_flops, block_weights, head_flops
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.training.compute import Compute
from gptsmith.training.examples import IGNORED, Batch, Examples
from gptsmith.training.history import HistoryRow

MATRIX_WIDTH = {"cpu": 1024, "mps": 2048, "cuda": 8192}
"""Of the product that a device is measured by: large enough to be its best, small enough to take no time."""


class Work:
    """Floating-point operations that batches ask of a model, forward and backward.

    Neither padding counts nor what is saved (stored features, a shared beginning, positions without a target):
    all of it is work that must be done.
    """

    def __init__(self, model: Classifier | LanguageModel) -> None:
        """Parameters that are trained must be chosen already."""
        self.flops = 0
        self._model = model
        parts = (model.trunk.embeddings, *model.trunk.blocks)
        trained = [sum(p.numel() for p in part.parameters() if p.requires_grad) for part in parts]
        # Gradients of inputs are needed above the lowest trained part; those of weights, where they are trained.
        self._block_passes = [
            1 + n / block_weights(model.architecture) + any(trained[: index + 2]) for index, n in enumerate(trained[1:])
        ]
        head = model.score.weight if isinstance(model, Classifier) else model.output_embedding
        self._head_passes = 1 + head.requires_grad + any(trained)

    def add(self, batch: Batch, learned_from: bool) -> None:
        """Count one batch: its way forward, and back where it is learned from."""
        lengths, shared = batch.lengths.tolist(), batch.n_shared
        repeats = len(lengths) - 1
        positions = sum(lengths) - repeats * shared
        pairs = sum(map(_pairs, lengths)) - repeats * _pairs(shared)
        architecture = self._model.architecture
        blocks = [block_flops(architecture, positions, pairs)] * architecture.n_layers
        if isinstance(self._model, Classifier):
            blocks[-1] = block_at_flops(architecture, len(lengths), positions)
            head = head_flops(architecture, len(lengths), self._model.score.out_features)
        else:
            # All rows learn alike from the beginning that they share, but for its last token.
            n_alike = int((batch.targets[0, : max(shared - 1, 0)] != IGNORED).sum())
            n_logits = batch.n_targets - repeats * n_alike
            head = head_flops(architecture, n_logits, architecture.vocab_size)
        passes = [*self._block_passes, self._head_passes] if learned_from else [1] * (len(blocks) + 1)
        done = range(batch.n_blocks, len(blocks) + 1)
        self.flops += round(sum([*blocks, head][part] * passes[part] for part in done))


def _pairs(length: int) -> int:
    """Of a query and a key that it sees, among `length` positions."""
    return length * (length + 1) // 2


@dataclass(frozen=True)
class CountedExamples:
    """Examples whose batches are counted as they are made."""

    examples: Examples
    work: Work
    learned_from: bool

    @property
    def lengths(self) -> np.ndarray:
        return self.examples.lengths

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        batch = self.examples.batch(indices)
        self.work.add(batch, self.learned_from)
        return batch


def training_speed(work: Work, history: Sequence[HistoryRow], compute: Compute) -> dict[str, float]:
    """Figures of a training that has just ended, evaluations included: trained tokens a second, and floating-point
    operations a second and process, as such and as a share of what matrix products alone reach here and now."""
    seconds, rate = max(history[-1].seconds, 1e-9), matmul_rate(compute)
    return {
        "tokens_per_second": round(history[-1].tokens / seconds, 1),
        "gflops_per_second": round(work.flops / seconds / 1e9, 3),
        "matmul_gflops_per_second": round(rate / 1e9, 3),
        "fraction_of_matmul_rate": round(work.flops / seconds / rate, 4),
    }


def matmul_rate(compute: Compute) -> float:
    """Floating-point operations a second of a square product of matrices, the median of several."""
    width = MATRIX_WIDTH[compute.device.type]
    return product_rate(compute, width, width, width)


def product_rate(compute: Compute, rows: int, width: int, outputs: int) -> float:
    """The same of a product of matrices [rows, width] and [width, outputs]."""
    device = compute.device
    a, b = torch.rand(rows, width, device=device), torch.rand(width, outputs, device=device)
    seconds = []
    with compute.autocast(), torch.inference_mode():
        for _ in range(7):
            wait_for(device)
            started = time.perf_counter()
            a @ b
            wait_for(device)
            seconds.append(time.perf_counter() - started)
    return 2 * rows * width * outputs / statistics.median(seconds[2:])


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
