"""Answering prompts, many at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gptsmith.config.generation import Generation
from gptsmith.generation.decoding import new_row, steps
from gptsmith.model.heads import LanguageModel
from gptsmith.tokenizer.fast import Vocabulary


@dataclass(frozen=True)
class Generated:
    """A response."""

    input_ids: list[int]
    """The new tokens, without end-of-text."""
    finish_reason: Literal["stop", "length"]
    """`stop` at end-of-text, `length` where max_new_tokens or the context length ended it."""


@torch.no_grad()  # inference_mode would let autocast convert the weights anew at every step
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    vocabulary: Vocabulary,
    ids: Sequence[int],
) -> list[Generated]:
    """A response to each of `prompts` (token ids), in their order; `model` in evaluation mode.

    ids: a number for each prompt that names it in errors and, with settings.seed, gives it a random
    stream of its own: what it is answered does not depend on how prompts are batched.

    Raises UserError for a prompt of no tokens, and for one that leaves no room for a response.
    """
    context_length = model.architecture.context_length
    rows = [new_row(prompt, settings, item, context_length) for prompt, item in zip(prompts, ids, strict=True)]
    # Prompts of about the same length wait the least for each other; batches of about the same size
    # read the weights no more often than full ones and need less memory.
    by_length = sorted(rows, key=lambda row: row.n_prompt)
    n_batches = math.ceil(len(rows) / settings.batch_size)
    for batch in range(n_batches):
        first, stop = (len(rows) * number // n_batches for number in (batch, batch + 1))
        for _ in steps(model, by_length[first:stop], settings, vocabulary):
            pass
    return [Generated(row.tokens[row.n_prompt :], row.finish_reason or "length") for row in rows]
