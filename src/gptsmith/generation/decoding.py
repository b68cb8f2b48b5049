"""Token by token: what answering many prompts and streaming one have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation.sampling import choose
from gptsmith.model.heads import LanguageModel
from gptsmith.model.kv_cache import KeyValueCache
from gptsmith.tokenizer.fast import Vocabulary
from gptsmith.training.examples import common_beginning


@dataclass
class Row:
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


def new_row(prompt: Sequence[int], settings: Generation, item: int, context_length: int) -> Row:
    """Raises UserError for a prompt of no tokens, and for one that leaves no room for a response."""
    if not 1 <= len(prompt) < context_length:
        raise UserError(
            f"item {item}: its prompt has {len(prompt)} tokens; the model takes 1 to {context_length - 1}, "
            f"one less than its context_length, to have room for a response"
        )
    longest = min(len(prompt) + settings.max_new_tokens, context_length)
    return Row(list(prompt), len(prompt), np.random.default_rng((settings.seed, item)), longest)


def steps(model: LanguageModel, rows: list[Row], settings: Generation, vocabulary: Vocabulary) -> Iterator[None]:
    """Extend every row until it is finished; pauses after each step.

    No row is padded: all are at the same position at all times. A step goes as far as every row's
    tokens are known; the rows whose tokens end there get a new one, the others are still in their prompt.
    """
    device = model.trunk.embeddings.token.weight.device
    cache = KeyValueCache(model.architecture, len(rows), max(row.longest for row in rows))
    n_shared = common_beginning([row.tokens[:-1] for row in rows]) if len(rows) > 1 else 0
    if n_shared:
        model.trunk(torch.tensor([rows[0].tokens[:n_shared]], device=device), cache)
    while rows:
        known = min(len(row.tokens) for row in rows)
        input_ids = torch.tensor([row.tokens[cache.length : known] for row in rows], device=device)
        last_hidden_state = model.trunk(input_ids, cache)[:, -1]
        at_end = [index for index, row in enumerate(rows) if len(row.tokens) == known]
        logits = float32_logits(model, last_hidden_state[at_end])[:, : vocabulary.size]
        tokens = choose(logits, settings, [rows[index].random for index in at_end])
        for index, token in zip(at_end, tokens.tolist(), strict=True):
            rows[index].add(token, vocabulary.end_of_text)
        yield
        unfinished = _closed_up([row.finish_reason is None for row in rows])
        if len(unfinished) < len(rows):
            cache.keep(unfinished)
            rows = [rows[index] for index in unfinished]


def float32_logits(model: LanguageModel, hidden: Tensor) -> Tensor:
    """Last hidden states [..., d_model] -> logits [..., vocab_size], under autocast too: the 8 bits of
    bfloat16 would move a logit of -100 by up to a quarter, and make equals of the most probable tokens."""
    with torch.autocast(hidden.device.type, enabled=False):
        return model.logits(hidden.to(model.output_embedding.dtype)).float()


def _closed_up(keep: list[bool]) -> list[int]:
    """The places that are kept, with those at the end moved into the gaps: the fewest moves."""
    n_kept = sum(keep)
    last = (place for place in range(n_kept, len(keep)) if keep[place])
    return [place if keep[place] else next(last) for place in range(n_kept)]
