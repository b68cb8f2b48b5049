"""Length and repetition of texts, against values worked out by hand."""

import math

import pandas as pd
import pytest

from gptsmith.evaluation.repetition import response_statistics, text_statistics


def statistics(*texts: str, prompt: str = "Say something.") -> dict[str, float]:
    return text_statistics(pd.Series(texts), pd.Series([prompt] * len(texts)))


def test_length() -> None:
    found = statistics("one", "one two three.", "", " \n", "!")
    assert (found["mean_words"], found["median_words"], found["empty"]) == (4 / 5, 0, 2 / 5)


def test_repetition() -> None:
    # One of the first text's six spans was there before; the second has none twice, and the third has none.
    found = statistics("a b c d e a B c, d", "a b c d e f g h i", "a a a")
    assert found["repeating"] == pytest.approx(1 / 3)
    assert found["repeated_spans"] == pytest.approx(1 / 6 / 3)
    assert statistics("a a a a a a a a")["repeated_spans"] == 4 / 5


def test_distinct_pairs_are_counted_over_all_texts() -> None:
    assert statistics("a b c", "a b d")["distinct_2"] == 3 / 6
    assert math.isnan(statistics("", "!")["distinct_2"])


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ("write the plural of the word", True),
        ("Write the plural: of the word is mice", True),  # 3 of 5 spans
        ("The word mouse has the plural mice of the word", False),
        ("the plural", False),  # too short to tell
        ("", False),
    ],
)
def test_a_copy_of_the_prompt(text: str, copies: bool) -> None:
    assert statistics(text, prompt="Write the plural of the word mouse.")["copying"] == copies


def test_the_prompt_is_instruction_and_input() -> None:
    columns = {
        "instruction": ["Repeat this.", "Repeat this."],
        "input": ["the quick brown fox jumps", ""],
        "response": ["the quick brown fox jumps"] * 2,
        "finish_reason": ["length", "stop"],
    }
    found = response_statistics(pd.DataFrame(columns))
    assert (found["copying"], found["cut_off"]) == (0.5, 0.5)
