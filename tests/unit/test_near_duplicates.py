"""What MinHash finds, against similarities counted exactly."""

import numpy as np

from gptsmith.data.near_duplicates import SIMILARITY, _shingles, find_near_duplicates


def similarity(one: str, other: str) -> float:
    a, b = _shingles(one), _shingles(other)
    return len(a & b) / len(a | b)


def test_what_is_found_is_similar_and_what_is_very_similar_is_found() -> None:
    rng = np.random.default_rng(0)
    words = [f"{n:03}word" for n in range(500)]
    texts = [" ".join(rng.choice(words, 25)) for _ in range(100)]
    # Copies with up to seven of 25 words changed, in a drawn place.
    changed = [" ".join([*rng.choice(words, n % 8), *text.split()[n % 8 :]]) for n, text in enumerate(texts)]
    similar = find_near_duplicates(enumerate([*texts, *changed]), 200)
    assert (similar[:100] == -1).all()
    for number, (text, copy) in enumerate(zip(texts, changed, strict=True)):
        exact, found = similarity(text, copy), similar[100 + number]
        assert found in (-1, number)
        if exact >= SIMILARITY + 0.12:
            assert found == number
        if exact < SIMILARITY - 0.12:
            assert found == -1


def test_short_and_empty_texts() -> None:
    texts = ["", "a", "A ", "b", " "]
    assert find_near_duplicates(enumerate(texts), 5).tolist() == [-1, -1, 1, -1, 0]


def test_the_same_texts_give_the_same() -> None:
    texts = [f"message number {n % 17} of {n}" for n in range(200)]
    first, second = (find_near_duplicates(enumerate(texts), 200) for _ in range(2))
    assert first.tolist() == second.tolist()
