"""From token files to training examples, for each kind of task."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from gptsmith.errors import UserError
from gptsmith.tokenizer.tokens import Tokens
from gptsmith.training.examples import ClassificationExamples, LanguageExamples, sliding_windows


def classification_examples(tokens: Tokens, max_length: int, end_of_text: int) -> ClassificationExamples:
    """Texts cut to `max_length` tokens. A text of no tokens becomes one end-of-text token."""
    assert tokens.labels is not None
    input_ids = [tokens[row][:max_length] for row in range(len(tokens))]
    empty = np.array([end_of_text], dtype=np.int32)
    return ClassificationExamples([ids if len(ids) else empty for ids in input_ids], tokens.labels, end_of_text)


def instruction_examples(
    tokens: Tokens, max_length: int, end_of_text: int, loss_on: Literal["response", "all"]
) -> LanguageExamples:
    """Prompt, response and end-of-text, cut so that at most `max_length` tokens are read.

    Entries whose prompt alone is longer have nothing to learn from and are left out.
    Raises UserError when none is left.
    """
    assert tokens.prompt_lengths is not None
    input_ids, first_targets = [], []
    for row, prompt_length in enumerate(tokens.prompt_lengths):
        if prompt_length <= max_length:
            input_ids.append(np.append(tokens[row], end_of_text)[: max_length + 1])
            first_targets.append(prompt_length if loss_on == "response" else 1)
    if len(tokens) and not input_ids:
        raise UserError(f"{tokens.path}: every prompt is longer than max_length ({max_length} tokens); raise it")
    return LanguageExamples(input_ids, np.array(first_targets, dtype=np.int64), end_of_text)


def pretraining_windows(files: Iterable[Tokens], window: int, stride: int, end_of_text: int) -> LanguageExamples:
    """All texts of all files, each followed by end-of-text, as windows over one long sequence."""
    separator = np.array([end_of_text], dtype=np.int32)
    pieces = [piece for tokens in files for row in range(len(tokens)) for piece in (tokens[row], separator)]
    stream = np.concatenate(pieces) if pieces else separator
    return sliding_windows(stream, window, stride, end_of_text)
