"""How long texts are, and how much they repeat themselves or their prompt: what a generation that went wrong shows."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from gptsmith.evaluation.overlap import words

SPAN = 4
"""Words in a row that count as repeated or copied."""


def text_statistics(texts: pd.Series, prompts: pd.Series) -> dict[str, float]:
    """Statistics of texts, each with the prompt it answers. Words are those of gptsmith.evaluation.overlap.

    mean_words, median_words: Length.
    empty: Share of texts of nothing but white space.
    repeating: Share in which four words in a row occur twice.
    repeated_spans: Mean share of four words in a row that occurred in the text before (seq-rep-4: Welleck et al.,
        "Neural Text Generation With Unlikelihood Training", 2020, section 6); 0 for a text of fewer words.
    distinct_2: Different pairs of neighbouring words in all texts, divided by the number of all words (Li et al., "A
        Diversity-Promoting Objective Function for Neural Conversation Models", 2016, section 5); NaN without any.
    copying: Share in which at least half of the four words in a row stand in the prompt.
    """
    tokens = [words(text) for text in texts]
    spans = [_spans(text, SPAN) for text in tokens]
    asked = [set(_spans(words(prompt), SPAN)) for prompt in prompts]
    repeated = np.array([_share(len(found) - len(set(found)), len(found)) for found in spans])
    copied = [sum(span in prompt for span in found) for found, prompt in zip(spans, asked, strict=True)]
    copying = [bool(found) and 2 * count >= len(found) for found, count in zip(spans, copied, strict=True)]
    lengths = [len(text) for text in tokens]
    pairs = set(chain.from_iterable(_spans(text, 2) for text in tokens))
    return {
        "mean_words": float(np.mean(lengths)),
        "median_words": float(np.median(lengths)),
        "empty": float(np.mean([not text.strip() for text in texts])),
        "repeating": float(np.mean(repeated > 0)),
        "repeated_spans": float(np.mean(repeated)),
        "distinct_2": len(pairs) / sum(lengths) if sum(lengths) else float("nan"),
        "copying": float(np.mean(copying)),
    }


def response_statistics(responses: pd.DataFrame) -> dict[str, float]:
    """`text_statistics` of a model's responses, and `cut_off`: the share that the length limit ended."""
    cut_off = float((responses["finish_reason"] == "length").mean())
    return {**text_statistics(responses["response"], _prompts(responses)), "cut_off": cut_off}


def reference_statistics(responses: pd.DataFrame) -> dict[str, float]:
    """`text_statistics` of the references."""
    return text_statistics(responses["reference"], _prompts(responses))


def _prompts(responses: pd.DataFrame) -> "pd.Series[Any]":
    return responses["instruction"] + "\n" + responses["input"]


def _spans(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
