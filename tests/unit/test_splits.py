from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptsmith.config.datasets import Split
from gptsmith.data.prepared import SPLITS
from gptsmith.data.splits import cut_document, stratified_split

percentages = st.tuples(st.integers(1, 100), st.integers(1, 100)).map(sorted)
splits = percentages.map(
    lambda cuts: Split(train=cuts[0] / 100, validation=(cuts[1] - cuts[0]) / 100, test=(100 - cuts[1]) / 100)
)


def share(split: Split, name: str) -> Fraction:
    return Fraction(str(getattr(split, name)))


def divide(strata: list[str], split: Split, seed: int = 0, rows: list[int] | None = None) -> dict[str, list[int]]:
    chosen = np.arange(len(strata)) if rows is None else np.array(rows)
    codes = np.array([sorted(set(strata)).index(stratum) for stratum in strata], np.int32)
    assigned = stratified_split(chosen, codes, split, np.random.Generator(np.random.PCG64(seed)))
    return {name: np.flatnonzero(assigned == number).tolist() for number, name in enumerate(SPLITS)}


@given(st.lists(st.sampled_from("abcde"), max_size=60), splits, st.integers(0, 2**32))
def test_disjoint_complete_in_order_and_proportional(strata: list[str], split: Split, seed: int) -> None:
    parts = divide(strata, split, seed)
    assert list(parts) == list(SPLITS)
    assert sorted(row for part in parts.values() for row in part) == list(range(len(strata)))
    total = Counter(strata)
    for name, part in parts.items():
        assert part == sorted(part)
        counts = Counter(strata[row] for row in part)
        for stratum, size in total.items():
            assert abs(counts[stratum] - share(split, name) * size) < 1
        assert abs(len(part) - share(split, name) * len(strata)) < 1
    assert divide(strata, split, seed) == parts


def test_remainders_of_many_small_strata_still_reach_the_small_splits() -> None:
    strata = [str(row // 3) for row in range(300)]
    sizes = {name: len(part) for name, part in divide(strata, Split(train=0.85, validation=0.05, test=0.1)).items()}
    assert sizes == {"train": 255, "validation": 15, "test": 30}


def test_shares_are_meant_as_written() -> None:
    parts = divide(["a"] * 1000, Split(train=0.29, validation=0.57, test=0.14))  # 0.57 * 1000 is 569.9999...
    assert [len(part) for part in parts.values()] == [290, 570, 140]


def test_seed_decides() -> None:
    strata = ["a", "b"] * 20
    assert divide(strata, Split(), 1) == divide(strata, Split(), 1)
    assert divide(strata, Split(), 1) != divide(strata, Split(), 2)


def test_drawn_rows_are_the_same_on_every_machine() -> None:
    parts = divide(list("aaaaabbbbb"), Split(train=0.6, validation=0.2, test=0.2), seed=123)
    assert parts == {"train": [0, 2, 4, 5, 8, 9], "validation": [3, 7], "test": [1, 6]}


def test_dropped_rows_stay_out() -> None:
    parts = divide(list("abab"), Split(train=1, validation=0, test=0), rows=[0, 3])
    assert parts == {"train": [0, 3], "validation": [], "test": []}


@given(st.text("ab\n", max_size=80), splits)
def test_document_is_cut_in_order_at_line_ends(text: str, split: Split) -> None:
    pieces = cut_document(text, split)
    assert list(pieces) == list(SPLITS)
    assert "".join(pieces.values()) == text
    for name, piece in pieces.items():
        assert piece == "" or share(split, name) > 0
        assert piece == "" or piece.endswith("\n") or text.endswith(piece)


def test_document_is_cut_near_its_shares() -> None:
    pieces = cut_document("123456789\n" * 100, Split(train=0.8, validation=0.1, test=0.1))
    assert [len(piece) for piece in pieces.values()] == [800, 100, 100]


def test_document_of_one_line_cannot_be_cut() -> None:
    assert cut_document("one line", Split(train=0.9, validation=0.1, test=0)) == {
        "train": "one line",
        "validation": "",
        "test": "",
    }
