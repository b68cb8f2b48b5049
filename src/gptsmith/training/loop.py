"""The one training loop: pretraining, classification and instructions differ in data and objective."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.training.compute import Compute
from gptsmith.training.examples import Batch, Examples, batches_by_length, epoch_batches
from gptsmith.training.history import HistoryRow
from gptsmith.training.objectives import Loss
from gptsmith.training.optimizer import learning_rate, make_optimizer
from gptsmith.training.progress import progress

Net = TypeVar("Net", bound=nn.Module)

# Rows of training loss in the history, however long the training.
TRAIN_ROWS = 100


@dataclass(frozen=True)
class Setup(Generic[Net]):
    """What is trained, on what, and where."""

    title: str
    """Shown with the progress."""
    model: Net
    """On the device already; only parameters that require a gradient are trained."""
    objective: Callable[[Net, Batch], Loss]
    train: Examples
    validation: Examples
    """May have no examples: then the last weights are the best."""
    compute: Compute
    seed: int


@dataclass
class _Mean:
    """A running mean loss and accuracy over targets."""

    loss: float = 0.0
    correct: float = 0.0
    targets: int = 0
    has_accuracy: bool = False

    def add(self, loss: Loss, n_targets: int) -> None:
        self.loss += loss.total.item()
        self.targets += n_targets
        if loss.n_correct is not None:
            self.correct += loss.n_correct.item()
            self.has_accuracy = True

    @property
    def mean_loss(self) -> float:
        return self.loss / self.targets

    @property
    def accuracy(self) -> float | None:
        return self.correct / self.targets if self.has_accuracy else None


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

    A step's gradient is that of the mean loss over all its targets, in however many micro-batches it
    is computed. The validation loss is measured before the first step and `settings.evaluations`
    times after it.

    Returns the history. Raises UserError when the loss stops being a finite number.
    """
    model, lengths = setup.model, setup.train.lengths
    steps_per_epoch = math.ceil(len(lengths) / settings.batch_size)
    n_steps = max(1, round(settings.epochs * steps_per_epoch))
    evaluate_at = {round(n_steps * (index + 1) / settings.evaluations) for index in range(settings.evaluations)}
    log_every = max(1, n_steps // TRAIN_ROWS)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, settings)
    torch.manual_seed(setup.seed)  # dropout
    model.train()

    history: list[HistoryRow] = []
    running, best, tokens, started = _Mean(), _Best(), 0, time.monotonic()

    def require_finite(step: int, *values: float) -> None:
        if not all(map(math.isfinite, values)):
            raise UserError(
                f"{setup.title}: the loss is no longer a finite number at step {step} of {n_steps};"
                f" lower training.learning_rate (now {settings.learning_rate:g}) or raise warmup_fraction"
            )

    def validate(step: int) -> None:
        mean = evaluate(setup, settings.micro_batch_size or settings.batch_size)
        if mean is None:
            return
        require_finite(step, mean.mean_loss)
        best.consider(mean.mean_loss, model)
        means, seconds = (mean.mean_loss, mean.accuracy), time.monotonic() - started
        history.append(HistoryRow(step, step / steps_per_epoch, "validation", *means, None, None, tokens, seconds))

    validate(0)
    with progress(setup.title, n_steps, "step") as advance:
        for step, indices in enumerate(_batches(lengths, settings.batch_size, setup.seed, n_steps), start=1):
            rate = learning_rate(step - 1, n_steps, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _accumulate_gradient(setup, indices, settings, running)
            grad_norm = nn.utils.clip_grad_norm_(parameters, settings.gradient_clip or math.inf).item()
            require_finite(step, running.loss, grad_norm)
            optimizer.step()
            optimizer.zero_grad()

            tokens += int(lengths[indices].sum())
            seconds = time.monotonic() - started
            advance(step, f"loss {running.mean_loss:.3f}, {tokens / seconds:,.0f} tokens/s")
            if step % log_every == 0 or step == n_steps:
                means = (running.mean_loss, running.accuracy)
                history.append(
                    HistoryRow(step, step / steps_per_epoch, "train", *means, rate, grad_norm, tokens, seconds)
                )
                running = _Mean()
            if step in evaluate_at:
                validate(step)
                if settings.patience is not None and best.evaluations_since >= settings.patience:
                    break
    # Without validation nothing else sees what the last step has done.
    require_finite(n_steps, *(parameter.norm().item() for parameter in parameters))
    model.load_state_dict(best.weights, strict=False)
    return history


def _batches(lengths: np.ndarray, batch_size: int, seed: int, n_batches: int) -> Iterator[np.ndarray]:
    """The first `n_batches` of epoch after epoch."""
    epochs = (epoch_batches(lengths, batch_size, seed, epoch) for epoch in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), n_batches)


def _accumulate_gradient(setup: Setup[Net], indices: np.ndarray, settings: Training, running: _Mean) -> None:
    """Add the gradient of the mean loss over all targets of the examples `indices`."""
    at_once = settings.micro_batch_size or settings.batch_size
    micro_batches = [setup.train.batch(indices[at : at + at_once]) for at in range(0, len(indices), at_once)]
    n_targets = sum(batch.n_targets for batch in micro_batches)
    for batch in micro_batches:
        with setup.compute.autocast():
            loss = setup.objective(setup.model, batch.to(setup.compute.device))
        (loss.total / n_targets).backward()
        running.add(loss, batch.n_targets)


@torch.no_grad()
def evaluate(setup: Setup[Net], batch_size: int) -> _Mean | None:
    """Mean loss over the validation examples, without dropout; None when there are none."""
    if not len(setup.validation.lengths):
        return None
    setup.model.eval()
    mean = _Mean()
    for indices in batches_by_length(setup.validation.lengths, batch_size):
        batch = setup.validation.batch(indices)
        with setup.compute.autocast():
            mean.add(setup.objective(setup.model, batch.to(setup.compute.device)), batch.n_targets)
    setup.model.train()
    return mean
