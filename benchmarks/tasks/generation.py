"""Answering 110 instructions greedily with 64 new tokens, 124M: generate of llms-from-scratch (one prompt at a time, no
cache), generate of transformers (batches with cache), and ours."""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from llms_from_scratch import ch05

from benchmarks.batches import SEED
from benchmarks.data import Data, load_data
from benchmarks.floors import generation_floor
from benchmarks.machine import clock_of, faster, measure
from benchmarks.peers import llms_from_scratch, transformers
from benchmarks.row import Row
from benchmarks.settings import Settings
from benchmarks.turns import EVALUATION, Timing, is_whole, whole_seconds
from gptsmith.checkpoint.files import load_language_model
from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.config.generation import Generation
from gptsmith.generation.generate import generate
from gptsmith.training.compute import choose_compute
from gptsmith.training.examples import common_beginning
from gptsmith.training.pretraining import write_random_model

Result = TypeVar("Result")

N_PROMPTS = 110
# All at once, which is also what transformers is fastest with.
GENERATION = Generation(max_new_tokens=64, batch_size=N_PROMPTS)
# Of transformers the fastest of these counts.
THEIR_BATCH_SIZES = (32, 110)


def run(settings: Settings, architecture: Architecture = GPT2_SIZES["gpt2-small"]) -> list[Row]:
    compute = choose_compute(settings.device, "auto", settings.threads)
    data, before = load_data("instruction", settings), measure(settings.device)
    device, vocabulary, n_new = compute.device, data.tokenizer.vocabulary, GENERATION.max_new_tokens
    write_random_model(architecture, SEED, data.tokenizer_folder, settings.folder / "base")
    ours = load_language_model(settings.folder / "base").to(device)
    scratch = llms_from_scratch.language_model(ours).to(device).eval()
    hugging_face = transformers.language_model(ours, settings.folder / "theirs", vocabulary.end_of_text).to(device)
    prompts = _prompts(data)
    # Evenly over the lengths.
    n_slow = N_PROMPTS if settings.full else 3 if settings.quick else 12
    by_length = sorted(range(N_PROMPTS), key=lambda row: len(prompts[row]))
    slow = [by_length[at * (N_PROMPTS - 1) // (n_slow - 1)] for at in range(n_slow)]

    def answer(some: list[list[int]]) -> list[list[int]]:
        with compute.autocast():
            return [response.input_ids for response in generate(ours, some, GENERATION, vocabulary, range(len(some)))]

    def answer_slowly(prompt: list[int]) -> list[int]:
        given = torch.tensor([prompt], device=device)
        answered = ch05.generate(scratch, given, n_new, architecture.context_length, eos_id=vocabulary.end_of_text)
        return answered[0, len(prompt) :].tolist()

    clock = clock_of(settings.device)
    our_seconds: list[float] = []
    their_seconds: dict[int, list[float]] = {size: [] for size in THEIR_BATCH_SIZES}
    slow_timings: list[Timing] = []
    equal_slow = 0
    answer(prompts[:2])
    transformers.generate(hugging_face, prompts[:2], n_new, 2)
    answer_slowly(prompts[0][:2])
    n_rounds = 1 if settings.quick else 3
    for number in range(n_rounds):
        responses = _timed(partial(answer, prompts), our_seconds, clock)
        for row in slow[number::n_rounds]:
            seconds: list[float] = []
            equal_slow += _timed(partial(answer_slowly, prompts[row]), seconds, clock) == responses[row]
            slow_timings.append(Timing(EVALUATION, len(prompts[row]), *seconds))
        for size, taken in their_seconds.items():
            theirs = _timed(partial(transformers.generate, hugging_face, prompts, n_new, size), taken, clock)

    machine = faster(before, measure(settings.device))
    equal = sum(a == b for a, b in zip(responses, theirs, strict=True))
    best = min(their_seconds, key=lambda size: median(their_seconds[size]))
    lengths = np.array([len(prompt) for prompt in prompts])
    shared = common_beginning([np.array(prompt) for prompt in prompts])
    floor = generation_floor(architecture, lengths, n_new, shared, machine)
    parameters = f"{architecture.n_parameters / 1e6:.0f}M"
    task = f"{parameters}, {N_PROMPTS} responses, greedy, {n_new} new tokens"
    batches = ", ".join(f"{size}: {median(taken):.3g} s" for size, taken in their_seconds.items())
    return [
        Row(
            task,
            median(our_seconds),
            f"{llms_from_scratch.NAME}, generate",
            whole_seconds(slow_timings, EVALUATION, lengths.tolist()),
            floor,
            goal=30.0,
            extrapolated=not is_whole(slow_timings, EVALUATION, lengths.tolist()),
            notes=f"all prompts at once on our side; {n_slow} responses of theirs run, "
            f"{equal_slow} of them equal to ours",
        ),
        Row(
            task,
            median(our_seconds),
            f"{transformers.NAME}, generate",
            median(their_seconds[best]),
            floor,
            goal=1.3,
            extrapolated=False,
            notes=f"seconds by their batch size: {batches}; {equal} responses equal to ours",
        ),
    ]


def _prompts(data: Data) -> list[list[int]]:
    """Those of the test split, and as many of the training split as are missing."""
    prompts: list[list[int]] = []
    for split in ("test", "train"):
        tokens = data.tokens[split]
        assert tokens.prompt_lengths is not None
        prompts += [tokens[row][:length].tolist() for row, length in enumerate(tokens.prompt_lengths)]
    return prompts[:N_PROMPTS]


def _timed(work: Callable[[], Result], seconds: list[float], clock: Callable[[], float]) -> Result:
    """What `work` returns; its seconds are appended."""
    started = clock()
    result = work()
    seconds.append(clock() - started)
    return result
