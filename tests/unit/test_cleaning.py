from pathlib import Path

import numpy as np
import pytest

from gptsmith.data.cleaning import clean, count_conflicts, filled_column, first_occurrences, label_column, undersample
from gptsmith.data.readers import Rows
from gptsmith.errors import UserError


def rows_of(column: str, *values: str) -> Rows:
    return Rows(Path("mine.csv"), {column: list(values)}, "line", list(range(2, 2 + len(values))))


def test_texts_lose_surrounding_whitespace_and_windows_line_ends_and_nothing_else() -> None:
    assert clean(" \u00a0Cafe\u0301  A\r\nb\tﬁ\r\n ") == "Cafe\u0301  A\nb\tﬁ"


@pytest.mark.parametrize("nothing", ["", " \t\r\n", "\u00a0"])
def test_row_without_text_is_named(nothing: str) -> None:
    with pytest.raises(UserError, match=r"mine.csv, line 3: nothing in column 'text'"):
        filled_column(rows_of("text", "a", nothing), "text")


def test_labels_are_renamed() -> None:
    names = {"0": "ham", "1": "spam"}
    assert label_column(rows_of("label", "1", " 0 ", "1"), "label", names) == ["spam", "ham", "spam"]
    assert label_column(rows_of("label", "1", "0"), "label", None) == ["1", "0"]


def test_unknown_label_names_the_line_and_those_expected() -> None:
    with pytest.raises(UserError, match=r"mine.csv, line 4, .*'Spam', expected one of 'ham', 'spam'"):
        label_column(rows_of("label", "ham", "spam", "Spam"), "label", {"ham": "ham", "spam": "spam"})


def test_expected_label_that_no_row_has() -> None:
    with pytest.raises(UserError, match="no row has the label 'other'"):
        label_column(rows_of("label", "a", "b"), "label", {"a": "a", "b": "b", "other": "other"})


def test_one_class_only() -> None:
    with pytest.raises(UserError, match=r"mine.csv: every row has the label 'ham'"):
        label_column(rows_of("label", "ham", "ham"), "label", None)


def test_first_of_equal_rows_is_kept_and_conflicting_labels_are_counted() -> None:
    texts, labels = ["a", "b", "a", "c", "b", "a"], ["x", "x", "y", "x", "x", "x"]
    assert first_occurrences(texts) == [0, 1, 3]
    assert count_conflicts(texts, labels) == 1


def test_undersampling_cuts_every_class_to_the_smallest() -> None:
    labels = ["ham", "ham", "spam", "ham", "ham", "spam", "ham", "spam"]
    rows = [0, 1, 2, 3, 4, 5, 6]  # row 7 was a duplicate
    draws = [undersample(rows, labels, np.random.default_rng(seed)) for seed in range(20)]
    for kept in draws:
        assert kept == sorted(kept)
        assert set(kept) < set(rows)
        assert [labels[row] for row in kept].count("ham") == [labels[row] for row in kept].count("spam") == 2
    assert draws[0] == undersample(rows, labels, np.random.default_rng(0))
    assert len({tuple(kept) for kept in draws}) > 1
