from pathlib import Path

import numpy as np
import pytest

from gptsmith.data.cleaning import clean, filled_column, label_column, undersample
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


def test_labels_are_those_of_the_file() -> None:
    assert label_column(rows_of("label", "1", " 0 ", "1"), "label", {"0": "ham", "1": "spam"}) == ["1", "0", "1"]
    assert label_column(rows_of("label", "1", "0"), "label", None) == ["1", "0"]


def test_unknown_label_names_the_line_and_those_expected() -> None:
    with pytest.raises(UserError, match=r"mine.csv, line 4, .*'Spam', expected one of 'ham', 'spam'"):
        label_column(rows_of("label", "ham", "spam", "Spam"), "label", {"ham": "ham", "spam": "spam"})


def test_undersampling_cuts_every_class_to_the_smallest() -> None:
    labels = np.array([0, 0, 1, 0, 0, 1, 0, 1])
    rows = np.array([0, 1, 2, 3, 4, 5, 6])  # row 7 was a duplicate
    draws = [undersample(rows, labels, np.random.default_rng(seed)) for seed in range(20)]
    for kept in draws:
        assert kept.tolist() == sorted(kept)
        assert set(kept) < set(rows)
        assert np.bincount(labels[kept]).tolist() == [2, 2]
    assert draws[0].tolist() == undersample(rows, labels, np.random.default_rng(0)).tolist()
    assert len({tuple(kept) for kept in draws}) > 1
