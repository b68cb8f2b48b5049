"""Answering prompts, many at once, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation.sampling import choose
from gptsmith.model.heads import LanguageModel
from gptsmith.model.kv_cache import KeyValueCache


@dataclass(frozen=True)
class Generated:
    """A response."""

    input_ids: list[int]
    """The new tokens, without end-of-text."""
    finish_reason: Literal["stop", "length"]
    """`stop` at end-of-text, `length` where max_new_tokens or the context length ended it."""


@dataclass
class _Row:
    """A prompt being answered."""

    tokens: list[int]
    n_prompt: int
    random: np.random.Generator
    longest: int
    finish_reason: Literal["stop", "length"] | None = None

    def add(self, token: int, end_of_text: int) -> None:
        if token == end_of_text:
            self.finish_reason = "stop"
            return
        self.tokens.append(token)
        if len(self.tokens) == self.longest:
            self.finish_reason = "length"


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    end_of_text: int,
    ids: Sequence[int],
) -> list[Generated]:
    """A response to each of `prompts` (token ids), in their order; `model` in evaluation mode.

    ids: a number for each prompt that names it in errors and, with settings.seed, gives it a random
    stream of its own: what it is answered does not depend on how prompts are batched. Tokens above
    `end_of_text` are padding of the vocabulary and never chosen.

    Raises UserError for a prompt of no tokens, and for one that leaves no room for a response.
    """
    context_length = model.architecture.context_length
    rows = []
    for prompt, item in zip(prompts, ids, strict=True):
        if not 1 <= len(prompt) < context_length:
            raise UserError(
                f"item {item}: its prompt has {len(prompt)} tokens; the model takes 1 to {context_length - 1}, "
                f"one less than its context_length, to have room for a response"
            )
        longest = min(len(prompt) + settings.max_new_tokens, context_length)
        rows.append(_Row(list(prompt), len(prompt), np.random.default_rng((settings.seed, item)), longest))
    # Prompts of about the same length wait the least for each other.
    by_length = sorted(rows, key=lambda row: row.n_prompt)
    for start in range(0, len(rows), settings.batch_size):
        _answer(model, by_length[start : start + settings.batch_size], settings, end_of_text)
    return [Generated(row.tokens[row.n_prompt :], row.finish_reason or "length") for row in rows]


def _answer(model: LanguageModel, rows: list[_Row], settings: Generation, end_of_text: int) -> None:
    """Extend every row until it is finished.

    No row is padded: all are at the same position at all times. A step goes as far as every row's
    tokens are known; the rows whose tokens end there get a new one, the others are still in their prompt.
    """
    weight = model.trunk.embeddings.token.weight
    longest = max(row.longest for row in rows)
    cache = KeyValueCache(model.architecture, len(rows), longest, weight.device, weight.dtype)
    while rows:
        known = min(len(row.tokens) for row in rows)
        input_ids = torch.tensor([row.tokens[cache.length : known] for row in rows], device=weight.device)
        last_hidden_state = model.trunk(input_ids, cache)[:, -1]
        at_end = [index for index, row in enumerate(rows) if len(row.tokens) == known]
        logits = model.logits(last_hidden_state[at_end])[:, : end_of_text + 1]
        tokens = choose(logits, settings, [rows[index].random for index in at_end])
        for index, token in zip(at_end, tokens.tolist(), strict=True):
            rows[index].add(token, end_of_text)
        unfinished = [index for index, row in enumerate(rows) if row.finish_reason is None]
        if len(unfinished) < len(rows):
            cache.keep(unfinished)
            rows = [rows[index] for index in unfinished]
