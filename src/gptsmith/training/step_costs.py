"""What a training step of each of several models costs: time, taken in turn, and memory, counted.

Two processes that train one after the other meet different machines: another clock rate, other neighbours. So all
models take the same step of the same batch in turn, in an order drawn anew each time, and are compared within such a
round. Models are built anew after some rounds: where their tensors come to lie makes a difference of its own, which
would otherwise be the same in all rounds of a run, and another in the next run.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from gptsmith.config.architecture import Architecture
from gptsmith.config.models import Pretrain
from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.model.accounting import FLOAT32_BYTES, cache_bytes
from gptsmith.model.dropout import set_dropout
from gptsmith.model.initialization import new_language_model
from gptsmith.provenance import Stopwatch, checksums, write_provenance
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.training.compilation import several_shapes
from gptsmith.training.compute import Compute
from gptsmith.training.examples import LanguageExamples, epoch_batches
from gptsmith.training.loop import Setup, stepper
from gptsmith.training.objectives import language_loss
from gptsmith.training.speed import wait_for
from gptsmith.training.tasks import pretraining_windows

WARM_UP, ROUNDS = 2, 6
"""Steps of each model after it was built: not timed, and timed."""
BLOCKS = 10
"""How many times the models are built, ..."""
FEWEST_BLOCKS, SECONDS = 3, 300.0
"""... unless that takes so long: then it ends with the block that is at hand, after so many at least."""
MOMENTS = 2
"""Of AdamW, for each weight."""


@dataclass(frozen=True)
class StepCosts:
    step_tokens: list[list[int]]
    """[block][round], read by each model."""
    step_seconds: dict[str, list[list[float]]]
    """By model, [block][round]."""
    step_bytes: dict[str, int | None]
    """By model: the most that tensors take at one time during a step, weights and optimizer included; None on a device
    that does not count."""
    parameters: dict[str, int]
    cache_bytes: dict[str, int]
    """By model: keys and values of one position, while it generates."""


def measure_variants(
    plan: Pretrain,
    architectures: Mapping[str, Architecture],
    compute: Compute,
    tokenizer_folder: Path,
    tokens_folder: Path,
    output: Path,
) -> None:
    """Write `StepCosts` of models of these shapes, pretrained as `plan` says, and where the figures come from.

    Raises UserError when there is no text.
    """
    stopwatch, tokenizer = Stopwatch(), load_tokenizer(tokenizer_folder, tokenizer_folder.name)
    tokens = [read_tokens(tokens_folder / dataset / "train.parquet") for dataset in plan.datasets]
    for one in tokens:
        check_same_tokenizer(one, tokenizer)
    window = plan.window or min(shape.context_length for shape in architectures.values())
    examples = pretraining_windows(tokens, window, plan.stride or window, tokenizer.end_of_text)
    if not examples.input_ids:
        raise UserError(f"{tokens_folder}: no text to pretrain on")
    shapes = {
        name: shape.model_copy(update={"vocab_size": tokenizer.vocab_size}) for name, shape in architectures.items()
    }
    with several_shapes(len(shapes), compute):
        costs = measure_steps(shapes, examples, plan.training, compute)
    write_provenance(
        output,
        stopwatch,
        settings={name: shape.model_dump(mode="json") for name, shape in shapes.items()},
        inputs=checksums([one.path for one in tokens]),
        device=str(compute.device),
        precision=compute.precision,
        threads=torch.get_num_threads(),
        **asdict(costs),
    )


def measure_steps(
    architectures: Mapping[str, Architecture], examples: LanguageExamples, settings: Training, compute: Compute
) -> StepCosts:
    """Train a model of each shape for some steps. The vocabulary's size must be the tokenizer's."""
    tokens: list[list[int]] = []
    seconds: dict[str, list[list[float]]] = {name: [] for name in architectures}
    n_bytes: dict[str, int | None] = {}
    parameters: dict[str, int] = {}
    started = time.monotonic()
    models: dict[str, _Begun] = {}
    for block in range(BLOCKS):
        # Those of the last block are given up before others take their place.
        models.clear()
        if block >= FEWEST_BLOCKS and time.monotonic() - started > SECONDS:
            break
        batches = itertools.cycle(_full_batches(examples, settings.batch_size, block))
        models |= {name: _begun(shape, examples, settings, compute, block) for name, shape in architectures.items()}
        for batch, name in itertools.product(itertools.islice(batches, WARM_UP), models):
            models[name].step(batch)
        rounds = list(itertools.islice(batches, ROUNDS))
        timed = [_round(models, batch, compute.device, seed=[block, number]) for number, batch in enumerate(rounds)]
        tokens.append([int(examples.lengths[batch].sum()) for batch in rounds])
        for name in architectures:
            seconds[name].append([one[name] for one in timed])
        if block == 0:
            longest = max(rounds, key=lambda batch: int(examples.lengths[batch].sum()))
            n_bytes = {name: _most_bytes(model, longest, compute.device) for name, model in models.items()}
            parameters = {name: model.parameters for name, model in models.items()}
    caches = {name: cache_bytes(shape) for name, shape in architectures.items()}
    return StepCosts(tokens, seconds, n_bytes, parameters, caches)


def _full_batches(examples: LanguageExamples, batch_size: int, seed: int) -> list[np.ndarray]:
    """All of them where none is full."""
    batches = epoch_batches(examples.lengths, batch_size, seed, 0)
    return [batch for batch in batches if len(batch) == batch_size] or batches


@dataclass(frozen=True)
class _Begun:
    """A model at the beginning of its training."""

    step: Callable[[np.ndarray], None]
    parameters: int
    buffer_bytes: int


def _begun(shape: Architecture, examples: LanguageExamples, settings: Training, compute: Compute, seed: int) -> _Begun:
    model = new_language_model(shape, torch.Generator().manual_seed(seed))
    set_dropout(model, settings.dropout)
    setup = Setup("measuring", model, language_loss, examples, examples, compute, seed)
    return _Begun(
        stepper(setup, settings),
        sum(parameter.numel() for parameter in model.parameters()),
        sum(buffer.numel() * buffer.element_size() for buffer in model.buffers()),
    )


def _round(models: Mapping[str, _Begun], batch: np.ndarray, device: torch.device, seed: list[int]) -> dict[str, float]:
    """Seconds of a step of each model, in an order by `seed`."""
    names, seconds = list(models), {}
    for place in np.random.default_rng(seed).permutation(len(names)):
        wait_for(device)
        started = time.perf_counter()
        models[names[place]].step(batch)
        wait_for(device)
        seconds[names[place]] = time.perf_counter() - started
    return seconds


def _most_bytes(model: _Begun, batch: np.ndarray, device: torch.device) -> int | None:
    """What lies there between steps, and the most that a step adds to it."""
    between = FLOAT32_BYTES * (1 + MOMENTS) * model.parameters + model.buffer_bytes
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        model.step(batch)
        return between + torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it tells each of its starts
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        model.step(batch)
    # Each allocation and release by itself; what `profile.events()` has is summed by operator.
    events = profile.profiler.kineto_results.events()
    changes = [event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()) if event.name() == "[memory]"]
    return between + max(itertools.accumulate(changes), default=0)
