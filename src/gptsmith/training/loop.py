"""The one training loop: pretraining, classification and instructions differ in data and objective."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
import torch
from torch import Tensor, nn

from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.training.compilation import compile_blocks
from gptsmith.training.compute import Compute
from gptsmith.training.distributed import (
    Net,
    Objective,
    accumulating,
    distribute,
    n_processes,
    own_batches,
    rank,
    total_on_device,
    totals,
    unshard,
    whole,
)
from gptsmith.training.examples import Batch, Examples, batches_by_length, epoch_batches
from gptsmith.training.history import HistoryRow
from gptsmith.training.objectives import Loss
from gptsmith.training.optimizer import learning_rate, make_optimizer
from gptsmith.training.progress import progress

# Rows of training loss in the history, however long the training.
TRAIN_ROWS = 100


@dataclass(frozen=True)
class Setup(Generic[Net]):
    """What is trained, on what, and where."""

    title: str
    """Shown with the progress."""
    model: Net
    """Anywhere; only parameters that require a gradient are trained."""
    objective: Callable[[Net, Batch], Loss]
    train: Examples
    validation: Examples
    """May have no examples: then the last weights are the best."""
    compute: Compute
    seed: int


@dataclass(frozen=True)
class Mean:
    """Over targets."""

    loss: float
    accuracy: float | None
    """None for language models."""


@dataclass
class _Sums:
    """Losses of batches, on the device: reading one would make the computation wait for it."""

    losses: list[Tensor] = field(default_factory=list)
    n_correct: list[Tensor] = field(default_factory=list)
    n_targets: int = 0

    def add(self, loss: Loss, n_targets: int) -> None:
        self.losses.append(loss.total.detach())
        if loss.n_correct is not None:
            self.n_correct.append(loss.n_correct)
        self.n_targets += n_targets

    @property
    def own_mean_loss(self) -> float:
        """Of this process's share."""
        return sum(_read(self.losses)) / max(self.n_targets, 1)

    def mean(self, device: torch.device) -> Mean:
        loss, n_correct, n_targets = totals(device, sum(_read(self.losses)), sum(_read(self.n_correct)), self.n_targets)
        return Mean(loss / n_targets, n_correct / n_targets if self.n_correct else None)


def _read(scalars: list[Tensor]) -> list[float]:
    """From the device, at once."""
    return torch.stack(scalars).tolist() if scalars else []


@dataclass
class _Best:
    """The trained weights at the lowest validation loss so far."""

    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)
    evaluations_since: int = 0

    def consider(self, loss: float, model: nn.Module) -> None:
        self.evaluations_since += 1
        if loss < self.loss:
            trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
            self.loss, self.weights, self.evaluations_since = loss, trained, 0


def train(setup: Setup[Net], settings: Training) -> list[HistoryRow]:
    """Train `setup.model` in place and leave it with the weights of the lowest validation loss.

    A step's gradient is that of the mean loss over all its targets, in however many micro-batches and
    processes it is computed. The validation loss is measured before the first step and
    `settings.evaluations` times after it.

    Returns the history. Raises UserError when the loss stops being a finite number.
    """
    model, device, lengths = setup.model, setup.compute.device, setup.train.lengths
    steps_per_epoch = math.ceil(len(lengths) / settings.batch_size)
    n_steps = max(1, round(settings.epochs * steps_per_epoch))
    evaluate_at = {round(n_steps * (index + 1) / settings.evaluations) for index in range(settings.evaluations)}
    log_every = max(1, n_steps // TRAIN_ROWS)
    compile_blocks(model, setup.compute, n_tokens=int(settings.epochs * lengths.sum()))
    # The matrices of a loaded model are transposed views of its file (gptsmith.checkpoint.weights), with which
    # AdamW takes four times as long.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.contiguous()
    objective = distribute(Objective(model, setup.objective), setup.compute)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, settings)
    torch.manual_seed(setup.seed + 2**32 * rank())  # dropout
    objective.train()

    history: list[HistoryRow] = []
    running, grad_norms, best, tokens, started = _Sums(), list[Tensor](), _Best(), 0, time.monotonic()

    def require_finite(step: int, *values: float) -> None:
        if not all(map(math.isfinite, values)):
            raise UserError(
                f"{setup.title}: the loss is no longer a finite number at step {step} of {n_steps};"
                f" lower training.learning_rate (now {settings.learning_rate:g}) or raise warmup_fraction"
            )

    def record(step: int, split: str, mean: Mean, rate: float | None, grad_norm: float | None) -> None:
        epoch, seconds = step / steps_per_epoch, time.monotonic() - started
        history.append(HistoryRow(step, epoch, split, mean.loss, mean.accuracy, rate, grad_norm, tokens, seconds))

    def validate(step: int) -> None:
        if not len(setup.validation.lengths):
            return
        mean = evaluate(objective, setup.validation, setup.compute, settings.micro_batch_size or settings.batch_size)
        require_finite(step, mean.loss)
        best.consider(mean.loss, model)
        record(step, "validation", mean, None, None)

    def detail() -> str:
        return f"loss {running.own_mean_loss:.3f}, {tokens / (time.monotonic() - started):,.0f} tokens/s"

    validate(0)
    with progress(setup.title, n_steps, "step") as advance:
        for step, indices in enumerate(_batches(lengths, settings.batch_size, setup.seed, n_steps), start=1):
            rate = learning_rate(step - 1, n_steps, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _accumulate_gradient(objective, setup, indices, settings, running)
            grad_norms.append(whole(nn.utils.clip_grad_norm_(parameters, settings.gradient_clip or math.inf)))
            optimizer.step()
            optimizer.zero_grad()

            tokens += int(lengths[indices].sum())
            advance(step, detail)
            if step % log_every == 0 or step == n_steps:
                mean, norms = running.mean(device), _read(grad_norms)
                require_finite(step, mean.loss, *norms)
                record(step, "train", mean, rate, norms[-1])
                running, grad_norms = _Sums(), []
            if step in evaluate_at:
                validate(step)
                if settings.patience is not None and best.evaluations_since >= settings.patience:
                    break
    # Without validation nothing else sees what the last step has done.
    require_finite(n_steps, whole(nn.utils.get_total_norm(parameters)).item())
    model.load_state_dict(best.weights, strict=False)
    unshard(model)
    return history


def _batches(lengths: np.ndarray, batch_size: int, seed: int, n_batches: int) -> Iterator[np.ndarray]:
    """The first `n_batches` of epoch after epoch."""
    epochs = (epoch_batches(lengths, batch_size, seed, epoch) for epoch in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), n_batches)


def _accumulate_gradient(
    objective: nn.Module, setup: Setup[Net], indices: np.ndarray, settings: Training, running: _Sums
) -> None:
    """Add the gradient of the mean loss over all targets of the examples `indices`."""
    device = setup.compute.device
    at_once = min(settings.micro_batch_size or settings.batch_size, math.ceil(len(indices) / n_processes()))
    parts = [indices[at : at + at_once] for at in range(0, len(indices), at_once)]
    micro_batches = list(own_batches(setup.train, parts))
    n_targets = total_on_device(device, sum(batch.n_targets for batch in micro_batches))
    for number, batch in enumerate(micro_batches, start=1):
        with contextlib.nullcontext() if number == len(micro_batches) else accumulating(objective):
            with setup.compute.autocast():
                loss = Loss(*objective(batch.to(device)))
            # Processes average their gradients; what is wanted is the sum.
            (loss.total / (n_targets / n_processes())).backward()
        running.add(loss, batch.n_targets)


@torch.no_grad()
def evaluate(objective: nn.Module, examples: Examples, compute: Compute, batch_size: int) -> Mean:
    """Mean loss over all examples, without dropout.

    objective: gptsmith.training.distributed.Objective, or what `distribute` makes of one.
    """
    objective.eval()
    sums = _Sums()
    for batch in own_batches(examples, batches_by_length(examples.lengths, batch_size)):
        with compute.autocast():
            sums.add(Loss(*objective(batch.to(compute.device))), batch.n_targets)
    objective.train()
    return sums.mean(compute.device)
