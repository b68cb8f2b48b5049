"""How far a training is: all that changes while it runs, and the way of it into a saved state and back."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gptsmith.training.distributed import like, own_share, rank, totals
from gptsmith.training.history import HistoryRow
from gptsmith.training.objectives import Loss


@dataclass(frozen=True)
class Mean:
    """Over targets."""

    loss: float
    accuracy: float | None
    """None for language models."""


@dataclass
class Sums:
    """Losses of batches, on the device: reading one would make the computation wait for it."""

    before: tuple[float, float, int] = (0.0, 0.0, 0)
    """Loss, correct answers and targets of a saved state."""
    losses: list[Tensor] = field(default_factory=list)
    n_correct: list[Tensor] = field(default_factory=list)
    n_targets: int = 0

    def add(self, loss: Loss, n_targets: int) -> None:
        self.losses.append(loss.total.detach())
        if loss.n_correct is not None:
            self.n_correct.append(loss.n_correct)
        self.n_targets += n_targets

    def own(self) -> tuple[float, float, int]:
        """Loss, correct answers and targets of this process's share."""
        loss, n_correct, n_targets = self.before
        return loss + sum(read(self.losses)), n_correct + sum(read(self.n_correct)), n_targets + self.n_targets

    def mean(self, device: torch.device) -> Mean:
        loss, n_correct, n_targets = totals(device, *self.own())
        return Mean(loss / n_targets, n_correct / n_targets if self.n_correct else None)


def read(scalars: list[Tensor]) -> list[float]:
    """From the device, at once."""
    return torch.stack(scalars).tolist() if scalars else []


@dataclass
class Best:
    """The trained weights at the lowest validation loss so far."""

    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)
    evaluations_since: int = 0

    def consider(self, loss: float, model: nn.Module) -> None:
        self.evaluations_since += 1
        if loss < self.loss:
            weights = {name: p.detach().clone() for name, p in trained(model).items()}
            self.loss, self.weights, self.evaluations_since = loss, weights, 0


@dataclass
class Course:
    """A training between two steps. `step` have been taken; their validation, where one is due, has not."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    flops: int = 0
    """Counted so far (gptsmith.training.speed)."""
    resumed_at: list[int] = field(default_factory=list)
    """Steps at which the training was taken up again."""
    history: list[HistoryRow] = field(default_factory=list)
    running: Sums = field(default_factory=Sums)
    """Since the last row of the history."""
    grad_norms: list[Tensor] = field(default_factory=list)
    """Likewise."""
    best: Best = field(default_factory=Best)


State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors on the CPU, of sharded ones this process's share, and what JSON can hold."""


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def state_of(course: Course, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> State:
    """All that the training needs to go on, from all processes at one time. (Dropout is seeded by each step.)"""
    tensors = {f"best.{name}": weight for name, weight in course.best.weights.items()}
    for name, parameter in trained(model).items():
        tensors[f"weight.{name}"] = parameter.detach()
        tensors |= {f"{moment}.{name}": value for moment, value in optimizer.state[parameter].items()}
    values = {
        "step": course.step,
        "tokens": course.tokens,
        "seconds": course.seconds,
        "flops": course.flops,
        "resumed_at": course.resumed_at,
        "history": [asdict(row) for row in course.history],
        "running": totals(device, *course.running.own()),
        "grad_norms": read(course.grad_norms),
        "best_loss": course.best.loss,
        "evaluations_since": course.best.evaluations_since,
    }
    return {name: own_share(tensor).cpu().contiguous() for name, tensor in tensors.items()}, values


@torch.no_grad()
def restored(state: State, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Course:
    """The course that `state` is of; weights and optimizer become those that it had."""
    tensors, values = state
    parameters, moments = trained(model), dict[int, dict[str, Tensor]]()
    numbers = {parameter: n for n, parameter in enumerate(p for g in optimizer.param_groups for p in g["params"])}
    best = Best(values["best_loss"], evaluations_since=values["evaluations_since"])
    for key, tensor in tensors.items():
        kind, name = key.split(".", 1)
        parameter = parameters[name]
        if kind == "weight":
            own_share(parameter).copy_(tensor)
        elif kind == "best":
            best.weights[name] = like(parameter, tensor)
        else:
            value = tensor if kind == "step" else like(parameter, tensor)
            moments.setdefault(numbers[parameter], {})[kind] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    loss, n_correct, n_targets = values["running"]
    return Course(
        step=values["step"],
        tokens=values["tokens"],
        seconds=values["seconds"],
        flops=values["flops"],
        resumed_at=[*values["resumed_at"], values["step"]],
        history=[HistoryRow(**row) for row in values["history"]],
        running=Sums((loss, n_correct, int(n_targets)) if rank() == 0 else (0.0, 0.0, 0)),
        grad_norms=list(torch.tensor(values["grad_norms"], device=device)),
        best=best,
    )
