"""On a GPU: training all parameters at context 1,024 against the optimised training of llms-from-scratch, 124M and
355M; and 355M on the instructions.

Theirs is what chapter 5's script of training speed ends with: GPTModelFast compiled as a whole, weights and optimizer
in bfloat16, fused AdamW, TF32, a vocabulary of 50,304. Ours keeps weights and optimizer in float32 and multiplies in
bfloat16. The sides run one after the other, so that each has its own peak of memory.
"""

import gc
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from llms_from_scratch import ch05
from llms_from_scratch.ch04 import GPTModelFast
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.batches import SEED, Announced
from benchmarks.floors import fine_tuning_floor
from benchmarks.machine import clock_of, measure
from benchmarks.peers import llms_from_scratch as peer
from benchmarks.row import Row
from benchmarks.settings import Settings
from benchmarks.tasks import instructions
from benchmarks.turns import TRAINING, WARM_UP, Side, take_turns
from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.config.training import Training
from gptsmith.model.initialization import new_language_model
from gptsmith.training.compute import choose_compute
from gptsmith.training.examples import LanguageExamples
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import language_loss

# Texts a step, by model: about what fits into 80 GB on both sides.
BATCH_SIZES = {"gpt2-small": 32, "gpt2-medium": 16}
PADDED_VOCABULARY = 50304


def run(settings: Settings) -> list[Row]:
    rows = [full_context(settings, GPT2_SIZES[name], batch_size) for name, batch_size in BATCH_SIZES.items()]
    return rows + instructions.run(settings, GPT2_SIZES["gpt2-medium"])


def full_context(settings: Settings, architecture: Architecture, batch_size: int) -> Row:
    """Seconds of a training step on texts as long as the context."""
    length, n_steps = architecture.context_length, 10 if settings.quick else 30
    machine = measure(settings.device, torch.bfloat16)
    generator = np.random.default_rng(SEED)
    texts = generator.integers(architecture.vocab_size, size=(n_steps * batch_size, length + 1))
    ours, our_memory = _measured(settings, partial(_train, settings, architecture, texts, batch_size))
    theirs, their_memory = _measured(settings, partial(_train_theirs, settings, architecture, texts, batch_size))
    supervised = batch_size * length
    floor = fine_tuning_floor(architecture, [np.full(batch_size, length)], supervised, 0, machine)
    speeds = " and ".join(
        f"{whose} {supervised / seconds:,.0f} tokens/s, {floor / seconds:.0%} of the measured rate, {memory:.1f} GB"
        for whose, seconds, memory in (("ours", ours, our_memory), ("theirs", theirs, their_memory))
    )
    return Row(
        f"{architecture.n_parameters / 1e6:.0f}M, context {length}, a step of {batch_size}",
        ours,
        f"{peer.NAME}, optimised",
        theirs,
        floor,
        goal=1.0,
        extrapolated=False,
        notes=f"{speeds}; bfloat16 multiplies at {machine.flops / 1e12:.3g} TFLOP/s",
    )


def _measured(settings: Settings, work: Callable[[Side], None]) -> tuple[float, float]:
    """Seconds of a step (median) and the most memory in GB."""
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    timings = take_turns({"": work}, np.inf, clock_of(settings.device))[""]
    memory = torch.cuda.max_memory_allocated() / 1e9 if settings.device == "cuda" else 0.0
    gc.collect()
    return median(timing.seconds for timing in timings[WARM_UP:] if timing.kind == TRAINING), memory


def _train(settings: Settings, architecture: Architecture, texts: np.ndarray, batch_size: int, side: Side) -> None:
    on_gpu = settings.device == "cuda"
    compute = choose_compute(settings.device, "auto", settings.threads, compile_blocks="always" if on_gpu else "never")
    model = new_language_model(architecture, torch.Generator().manual_seed(SEED)).to(compute.device)
    examples = LanguageExamples(list(texts.astype(np.int32)), np.ones(len(texts), dtype=np.int64), padding=0)
    nothing = LanguageExamples([], np.zeros(0, dtype=np.int64), padding=0)
    announced = Announced(examples, model, side)
    setup = Setup("training", model, language_loss, announced, nothing, compute, SEED)
    train(setup, Training(epochs=1, batch_size=batch_size))
    side.end()


def _train_theirs(
    settings: Settings, architecture: Architecture, texts: np.ndarray, batch_size: int, side: Side
) -> None:
    torch.manual_seed(SEED)
    padded = architecture.model_copy(update={"vocab_size": PADDED_VOCABULARY})
    model: Any = GPTModelFast(peer.configuration(padded))
    precision = torch.get_float32_matmul_precision()
    if settings.device == "cuda":
        model = torch.compile(model)
        torch.set_float32_matmul_precision("high")
    model.to(settings.device).to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.1, fused=True)
    data = TensorDataset(torch.from_numpy(texts[:, :-1].copy()), torch.from_numpy(texts[:, 1:].copy()))
    loader = peer.Announced(DataLoader(data, batch_size, pin_memory=settings.device == "cuda"), model, side)
    model.train()
    for inputs, targets in loader:  # chapter 5's loop without its evaluations and samples
        optimizer.zero_grad()
        ch05.calc_loss_batch(inputs, targets, model, settings.device).backward()
        optimizer.step()
    torch.set_float32_matmul_precision(precision)
