"""A script that test_distributed.py runs in two processes: the tests' trainings, or a failure.

python several_processes.py results.json folder
python several_processes.py --fail one|all
"""

import itertools
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed import barrier

from gptsmith.checkpoint.files import load_language_model, save_language_model
from gptsmith.command import run
from gptsmith.config.architecture import Architecture
from gptsmith.config.parallel import Sharding
from gptsmith.config.runs import LastBlocks, LoRA, LoRAOnly, Trainable
from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.training.compute import Compute, choose_compute
from gptsmith.training.distributed import n_processes, process_group, rank
from gptsmith.training.examples import Batch, ClassificationExamples, Examples, LanguageExamples
from gptsmith.training.launch import in_processes
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import Loss, classification_loss, language_loss, language_loss_shared
from gptsmith.training.state import Saving, States, states_of
from gptsmith.training.trainable import select_trainable

SHAPE = Architecture(vocab_size=11, context_length=12, d_model=16, n_layers=2, n_heads=2)
CPU = Compute(torch.device("cpu"), "fp32")
BEGINNING = np.array([3, 1, 4])


@dataclass(frozen=True)
class Case:
    """A training; by default its batches are of 8, 8 and 1 examples."""

    model: Callable[[Architecture, torch.Generator], nn.Module]
    objective: Callable[[Any, Batch], Loss]
    settings: dict[str, Any]
    trainable: Trainable = "all"
    sharding: Sharding = "none"


# Cases that are also broken off and taken up again.
IN_PARTS = ("language", "dropout", "early end", "sharded language", "sharded adapters")


def two_classes(architecture: Architecture, generator: torch.Generator) -> Classifier:
    return new_classifier(architecture, 2, generator)


def loaded(architecture: Architecture, generator: torch.Generator) -> LanguageModel:
    with tempfile.TemporaryDirectory() as folder:
        save_language_model(new_language_model(architecture, generator), Path(folder), end_of_text=10)
        return load_language_model(Path(folder))


CASES = {
    "classification": Case(two_classes, classification_loss, {}),
    "language": Case(new_language_model, language_loss, {}),
    "loaded": Case(loaded, language_loss, {}),
    "shared beginning": Case(new_language_model, language_loss_shared, {}),
    "micro-batches": Case(new_language_model, language_loss, {"micro_batch_size": 2}),
    "odd micro-batches": Case(two_classes, classification_loss, {"micro_batch_size": 4, "batch_size": 12}),
    "early end": Case(two_classes, classification_loss, {"patience": 1, "epochs": 40, "evaluations": 40}),
    "dropout": Case(new_language_model, language_loss, {"dropout": 0.2}),
    "one block": Case(two_classes, classification_loss, {}, LastBlocks(last_blocks=1)),
    "sharded classification": Case(two_classes, classification_loss, {}, sharding="full"),
    "sharded language": Case(new_language_model, language_loss, {"micro_batch_size": 2}, sharding="full"),
    "sharded loaded": Case(loaded, language_loss, {}, sharding="full"),
    "sharded shared beginning": Case(new_language_model, language_loss_shared, {}, sharding="full"),
    "sharded adapters": Case(
        new_language_model, language_loss, {}, LoRAOnly(lora=LoRA(rank=2, alpha=4)), sharding="full"
    ),
}


def examples(objective: Callable[..., Loss], n: int) -> Examples:
    """Of very different lengths, with very different numbers of targets."""
    random = np.random.default_rng(n)
    texts = [np.append(BEGINNING, random.integers(0, 10, random.integers(1, 9))) for _ in range(n)]
    if objective is classification_loss:
        return ClassificationExamples(texts, random.integers(0, 2, n), padding=10)
    return LanguageExamples(texts, np.array([1 if len(ids) > 8 else len(ids) - 1 for ids in texts]), padding=10)


def setup_of(case: Case) -> tuple[Setup[Any], Training]:
    generator = torch.Generator().manual_seed(1)
    model = case.model(SHAPE, generator)
    assert isinstance(model, Classifier | LanguageModel)
    select_trainable(model, case.trainable, generator)
    setup = Setup[Any](
        title="tiny",
        model=model,
        objective=case.objective,
        train=examples(case.objective, 17),
        validation=examples(case.objective, 9),
        compute=replace(CPU, sharding=case.sharding),
        seed=1,
    )
    defaults = {"epochs": 3, "batch_size": 8, "evaluations": 3, "learning_rate": 1e-2}
    settings = Training(**defaults | case.settings)
    set_dropout(model, settings.dropout)
    return setup, settings


def trained(case: Case, states: States | None = None) -> dict[str, Any]:
    """History and weights that the case's training ends with, as JSON has them."""
    setup, settings = setup_of(case)
    course = train(setup, settings, states)
    rows = [[row.step, row.tokens, row.loss, row.accuracy or 0, row.grad_norm or 0] for row in course.history]
    weights = {name: tensor.tolist() for name, tensor in setup.model.state_dict().items()}
    return {"history": rows, "weights": weights, "resumed_at": course.resumed_at}


def trained_in_parts(case: Case, folder: Path, calls: Sequence[int]) -> dict[str, Any]:
    """The same when the last of the processes is sent SIGTERM while it computes the loss for the n-th time, for each
    n of `calls` once, and the training is begun again after each."""
    saving = Saving(folder, code="", seconds=math.inf)
    setup, settings = setup_of(case)
    for n in calls:
        setup, settings = setup_of(case)
        setup = replace(setup, objective=terminating(setup.objective, n))
        states = states_of(saving, setup.compute)
        try:
            train(setup, settings, states)
        except KeyboardInterrupt:
            continue
        raise AssertionError(f"the training ended before its loss was computed {n} times")
    return trained(case, states_of(saving, setup.compute))


def terminating(objective: Callable[..., Loss], call: int) -> Callable[..., Loss]:
    calls = itertools.count(1)

    def terminate(model: nn.Module, batch: Batch) -> Loss:
        if next(calls) == call and rank() == n_processes() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(model, batch)

    return terminate


def fail(who: str) -> None:
    if rank() == 1 or who == "all":
        raise UserError("the disk is full of cats")
    barrier()


def main() -> None:
    in_processes(2, "cpu")
    compute = choose_compute("cpu", "fp32", threads=2)
    with process_group(compute.device):
        if sys.argv[1] == "--fail":
            fail(sys.argv[2])
        results = {name: trained(case) for name, case in CASES.items()}
        for name in IN_PARTS:
            results[f"{name} in parts"] = trained_in_parts(CASES[name], Path(sys.argv[2]) / name, [2, 5])
        if rank() == 0:
            Path(sys.argv[1]).write_text(json.dumps(results))


if __name__ == "__main__":
    run(main)
