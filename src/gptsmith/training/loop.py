"""The one training loop: pretraining, classification and instructions differ in data and objective."""

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from torch import nn

from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.training.compilation import compile_blocks
from gptsmith.training.compute import Compute
from gptsmith.training.course import Course, Mean, Sums, read, restored, state_of, trained
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
from gptsmith.training.speed import Work
from gptsmith.training.state import States
from gptsmith.training.stopping import stop_requests

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
    work: Work | None = None
    """Counted by the examples (gptsmith.training.speed)."""


def train(setup: Setup[Net], settings: Training, states: States | None = None) -> Course:
    """Train `setup.model` in place and leave it with the weights of the lowest validation loss.

    A step's gradient is that of the mean loss over all its targets, in however many micro-batches and
    processes it is computed. The validation loss is measured before the first step and
    `settings.evaluations` times after it.

    states: Where the training is saved now and then, and taken up if it was broken off. On a CPU, with the same
        number of threads, it ends in the same weights, to the last bit, as if it had not been.

    Raises UserError when there is nothing to train on or the loss stops being a finite number, and
    KeyboardInterrupt, with the state saved, when the process is asked to stop.
    """
    if not len(setup.train.lengths):
        raise UserError(f"{setup.title}: no examples to train on")
    with stop_requests() if states else contextlib.nullcontext(never) as asked_to_stop:
        trainer = _Trainer(setup, settings, states, asked_to_stop)
        trainer.run()
    # Without validation nothing else sees what the last step has done.
    trainer.require_finite(whole(nn.utils.get_total_norm(trainer.parameters)).item())
    setup.model.load_state_dict(trainer.course.best.weights, strict=False)
    unshard(setup.model)
    return trainer.course


def stepper(setup: Setup[Net], settings: Training) -> Callable[[np.ndarray], None]:
    """A training at its beginning, led from outside: a function that takes a step as `train` does, with the examples
    of these numbers."""
    return _Trainer(setup, settings, None, never).step


def never() -> bool:
    return False


class _Trainer:
    """A training between its first step, or the one after which it was broken off, and its last."""

    def __init__(
        self, setup: Setup[Net], settings: Training, states: States | None, asked_to_stop: Callable[[], bool]
    ) -> None:
        self.setup, self.settings, self.states, self.asked_to_stop = setup, settings, states, asked_to_stop
        self.lengths, self.device = setup.train.lengths, setup.compute.device
        self.steps_per_epoch = math.ceil(len(self.lengths) / settings.batch_size)
        self.n_steps = max(1, round(settings.epochs * self.steps_per_epoch))
        compile_blocks(setup.model, setup.compute, n_tokens=int(settings.epochs * self.lengths.sum()))
        # The matrices of a loaded model are transposed views of its file (gptsmith.checkpoint.weights), with which
        # AdamW takes four times as long.
        for parameter in trained(setup.model).values():
            parameter.data = parameter.data.contiguous()
        self.objective = distribute(Objective(setup.model, setup.objective), setup.compute)
        self.parameters = list(trained(setup.model).values())
        self.optimizer = make_optimizer(self.parameters, settings)
        self.objective.train()
        state = states.newest() if states else None
        self.course = Course() if state is None else restored(state, setup.model, self.optimizer, self.device)
        self.last_save = (-1, False)  # after which step, and whether there was room
        self.started = time.monotonic() - self.course.seconds
        if setup.work is not None:
            setup.work.flops = self.course.flops

    def run(self) -> None:
        """Up to the last step, or to where validation finds no more progress."""
        setup, settings, course = self.setup, self.settings, self.course
        evaluations = {round(self.n_steps * n / settings.evaluations) for n in range(settings.evaluations + 1)}
        epochs = (epoch_batches(self.lengths, settings.batch_size, setup.seed, epoch) for epoch in itertools.count())
        batches = itertools.islice(itertools.chain.from_iterable(epochs), course.step, None)
        if course.resumed_at and rank() == 0:
            print(f"{setup.title}: goes on after step {course.step} of {self.n_steps}", file=sys.stderr)
        with progress(setup.title, self.n_steps, "step", done=course.step) as advance:
            while True:
                self.pause()
                if course.step:
                    advance(course.step, self.detail)
                if course.step in evaluations and len(setup.validation.lengths):
                    self.validate()
                    if settings.patience is not None and course.best.evaluations_since >= settings.patience:
                        return
                if course.step == self.n_steps:
                    return
                self.step(next(batches))

    def pause(self) -> None:
        """Save the state where that is due, and end here where that is asked for. All processes do so at one time."""
        if self.states is None:
            return
        stop, due = totals(torch.device("cpu"), self.asked_to_stop(), self.states.due())
        if (stop or due) and self.last_save[0] < self.course.step:
            self.course.seconds = time.monotonic() - self.started
            self.course.flops = self.setup.work.flops if self.setup.work else 0
            saved = self.states.save(state_of(self.course, self.setup.model, self.optimizer, self.device))
            self.last_save = self.course.step, saved
        if stop:
            if rank() == 0:
                what = "saved; the next run goes on there" if self.last_save[1] else "not saved"
                print(f"{self.setup.title}: stopped after step {self.course.step}, {what}", file=sys.stderr)
            raise KeyboardInterrupt

    def validate(self) -> None:
        batch_size = self.settings.micro_batch_size or self.settings.batch_size
        mean = evaluate(self.objective, self.setup.validation, self.setup.compute, batch_size, self.pause)
        self.require_finite(mean.loss)
        self.course.best.consider(mean.loss, self.setup.model)
        self.record("validation", mean, None, None)

    def step(self, indices: np.ndarray) -> None:
        """Learn from the examples `indices`."""
        course, settings = self.course, self.settings
        rate = learning_rate(course.step, self.n_steps, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout follows from the step, so a state needs to hold nothing for it.
        seeds = np.random.SeedSequence([self.setup.seed, course.step, rank()])
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        _accumulate_gradient(self.objective, self.setup, indices, settings, course.running)
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.gradient_clip or math.inf)
        course.grad_norms.append(whole(norm))
        self.optimizer.step()
        self.optimizer.zero_grad()

        course.step += 1
        course.tokens += int(self.lengths[indices].sum())
        if course.step % max(1, self.n_steps // TRAIN_ROWS) == 0 or course.step == self.n_steps:
            mean, norms = course.running.mean(self.device), read(course.grad_norms)
            self.require_finite(mean.loss, *norms)
            self.record("train", mean, rate, norms[-1])
            course.running, course.grad_norms = Sums(), []

    def record(self, split: str, mean: Mean, rate: float | None, grad_norm: float | None) -> None:
        course, epoch, seconds = self.course, self.course.step / self.steps_per_epoch, time.monotonic() - self.started
        row = HistoryRow(course.step, epoch, split, mean.loss, mean.accuracy, rate, grad_norm, course.tokens, seconds)
        course.history.append(row)

    def require_finite(self, *values: float) -> None:
        if not all(map(math.isfinite, values)):
            raise UserError(
                f"{self.setup.title}: the loss is no longer a finite number at step {self.course.step} of"
                f" {self.n_steps}; lower training.learning_rate (now {self.settings.learning_rate:g}) or raise"
                " warmup_fraction"
            )

    def detail(self) -> str:
        """Shown with the progress: the loss since the history's last row, or that row's if it has just been written;
        the last loss in validation; and the speed."""
        loss, _, n_targets = self.course.running.own()
        if not n_targets:
            loss, n_targets = next((row.loss, 1) for row in reversed(self.course.history) if row.split == "train")
        validation = next((row.loss for row in reversed(self.course.history) if row.split == "validation"), None)
        validated = "" if validation is None else f", validation {validation:.3f}"
        speed = self.course.tokens / (time.monotonic() - self.started)
        return f"loss {loss / n_targets:.3f}{validated}, {speed:,.0f} tokens/s"


def _accumulate_gradient(
    objective: nn.Module, setup: Setup[Net], indices: np.ndarray, settings: Training, running: Sums
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
def evaluate(
    objective: nn.Module,
    examples: Examples,
    compute: Compute,
    batch_size: int,
    between_batches: Callable[[], None] = lambda: None,
) -> Mean:
    """Mean loss over all examples, without dropout.

    objective: gptsmith.training.distributed.Objective, or what `distribute` makes of one.
    """
    objective.eval()
    sums = Sums()
    for batch in own_batches(examples, batches_by_length(examples.lengths, batch_size)):
        between_batches()
        with compute.autocast():
            sums.add(Loss(*objective(batch.to(compute.device))), batch.n_targets)
    objective.train()
    return sums.mean(compute.device)
