"""What to begin with on a machine of a few cores: tokenizer, shape and length of training, by the size of the data.

The budgets are in tokens, because time is: a model of a million parameters learns from some 10,000 of them a second
on one core of a laptop.
"""

import heapq
import math
import tempfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import regex

from gptsmith.inspection.table import MOST_BYTES, MOST_ROWS
from gptsmith.tokenizer.bpe import PRETOKEN_PATTERNS, train
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer

SAMPLE_CHARACTERS = 500_000
LONGEST_LOOKED_AT = 50
"""Rows of which the tokens are counted to find the longest: nearly always it is among those of most bytes."""

PRETRAINING_TOKENS = 2_000_000
FINETUNING_TOKENS = 2_000_000


@dataclass(frozen=True)
class Measured:
    """Of the texts, with a tokenizer trained on a sample of them."""

    vocab_size: int
    mean: float
    """Tokens of a row."""
    common: int
    """95 rows of 100 have no more tokens."""
    longest: int


@dataclass(frozen=True)
class Beginning:
    """Settings of a config."""

    vocab_size: int
    context_length: int
    d_model: int
    n_layers: int
    n_heads: int
    window: int
    pretraining_epochs: float
    epochs: float
    batch_size: int
    max_length: int
    max_new_tokens: int


def measure(texts: Iterable[str], rows: int) -> Measured:
    """Train a tokenizer on a sample of `texts` and count with it; `rows` are those of the whole file.

    Reads as far as `gptsmith.inspection.table.look_at`.
    """
    sample, sampled, sizes = list[str](), 0, array("q")
    longest: list[tuple[int, str]] = []
    n_bytes = 0
    for text in texts:
        size = len(text.encode())
        sizes.append(size)
        n_bytes += size
        if sampled < SAMPLE_CHARACTERS:
            sample.append(text[:SAMPLE_CHARACTERS])
            sampled += len(sample[-1])
        if len(longest) < LONGEST_LOOKED_AT:
            heapq.heappush(longest, (size, text))
        elif size > longest[0][0]:
            heapq.heapreplace(longest, (size, text))
        if n_bytes > MOST_BYTES or len(sizes) >= MOST_ROWS:
            break
    vocab_size = _vocab_size(sample, rows)
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(train(sample, vocab_size), Path(folder))
        encode = load_tokenizer(Path(folder), "sample").encode
        tokens_per_byte = sum(len(encode(text)) for text in sample) / max(1, sum(len(t.encode()) for t in sample))
        most = max(len(encode(text)) for _, text in longest)
    common = max(1, math.ceil(float(np.quantile(sizes, 0.95)) * tokens_per_byte))
    return Measured(vocab_size, float(np.mean(sizes)) * tokens_per_byte, common, max(most, common))


def _vocab_size(sample: list[str], rows: int) -> int:
    """Every different pre-token ends as a token, so there are at least as many merges; half of them, because the
    training split has not all."""
    words = {match.group() for text in sample for match in regex.finditer(PRETOKEN_PATTERNS["gpt2"], text)}
    possible = 257 + sum(len(word.encode()) > 1 for word in words) // 2
    sizes = (4096, 2048, 1024, 512) if rows >= 50_000 else (2048, 1024, 512)
    return next((size for size in sizes if size <= possible), possible)


def for_classification(measured: Measured, rows: int, train_share: float) -> Beginning:
    """Longer texts than most lose their end: what they are about mostly shows before it."""
    length = min(512, _up(measured.common, 32))
    return _beginning(measured, rows, train_share, context_length=length, max_length=length, most_epochs=6)


def for_instructions(measured: Measured, answer_tokens: int, rows: int, train_share: float) -> Beginning:
    """The longest has to fit the context, for its answer is scored; most of the training is on shorter ones."""
    context_length = _up(math.ceil(1.1 * measured.longest) + 16, 32)
    max_length = min(512, context_length, _up(measured.common + 16, 32))
    found = _beginning(
        measured, rows, train_share, context_length=context_length, max_length=max_length, most_epochs=10
    )
    return replace(found, max_new_tokens=min(256, _up(answer_tokens, 8)))


def _beginning(
    measured: Measured, rows: int, train_share: float, *, context_length: int, max_length: int, most_epochs: int
) -> Beginning:
    tokens = rows * train_share * min(measured.mean, max_length)
    d_model, n_layers = next(shape for least, shape in SHAPES.items() if rows >= least)
    return Beginning(
        vocab_size=measured.vocab_size,
        context_length=context_length,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=d_model // 32,
        window=min(context_length, 256),
        pretraining_epochs=_epochs(PRETRAINING_TOKENS / tokens, 4),
        epochs=_epochs(FINETUNING_TOKENS / tokens, most_epochs),
        batch_size=16 if max_length <= 256 else 8,
        max_length=max_length,
        max_new_tokens=0,
    )


# From so many rows on: d_model, n_layers.
SHAPES = {200_000: (192, 6), 1_000: (128, 4), 0: (64, 2)}


def _epochs(wanted: float, most: int) -> float:
    """Whole numbers from 1 on, tenths below."""
    return min(most, int(wanted)) if wanted >= 1 else max(0.1, round(wanted, 1))


def _up(number: int, multiple: int) -> int:
    return max(multiple, math.ceil(number / multiple) * multiple)
