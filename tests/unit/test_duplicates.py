import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptsmith.data.duplicates import count_conflicts, count_overlaps, digests_of, find_equal_rows, first_occurrences


def test_first_of_equal_rows_is_kept_and_conflicting_labels_are_counted() -> None:
    equal = find_equal_rows(digests_of((text,) for text in "abacba"))
    assert first_occurrences(equal).tolist() == [0, 1, 3]
    assert count_conflicts(equal, np.array([0, 0, 1, 0, 0, 0])) == 1


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xy"), st.integers(-1, 2))))
def test_as_sets_and_dictionaries_say(rows: list[tuple[str, str, int]]) -> None:
    texts = [row[:2] for row in rows]
    equal = find_equal_rows(digests_of(texts))
    assert first_occurrences(equal).tolist() == sorted(
        {text: row for row, text in reversed([*enumerate(texts)])}.values()
    )
    assigned = [{text for text, row in zip(texts, rows, strict=True) if row[2] == number} for number in range(3)]
    overlaps = count_overlaps(equal, np.array([row[2] for row in rows], np.int8))
    assert list(overlaps.values()) == [len(assigned[one] & assigned[two]) for one, two in ((0, 1), (0, 2), (1, 2))]
    conflicts = count_conflicts(equal, np.array([row[2] for row in rows], np.int32))
    assert conflicts == sum(len({row[2] for row in rows if row[:2] == text}) > 1 for text in set(texts))


def test_where_one_text_ends_and_the_next_begins_counts() -> None:
    assert len(first_occurrences(find_equal_rows(digests_of([("ab", "c"), ("a", "bc"), ("abc", "")])))) == 3
