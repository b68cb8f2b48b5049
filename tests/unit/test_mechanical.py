"""The generated questions: right, all different, the same for the same seed."""

import re
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.data.mechanical import CATEGORIES, Item, generate
from gptsmith.errors import UserError

# What the answers are checked against: written down here a second time, and apart from the generator.
KINDS = {
    "animal": {"cat", "dog", "horse", "cow", "lion", "bear", "mouse", "fox"},
    "colour": {"red", "blue", "green", "yellow", "black", "white", "brown", "pink"},
    "fruit": {"apple", "pear", "plum", "peach", "lemon", "grape", "cherry", "banana"},
    "garment": {"hat", "coat", "shirt", "shoe", "sock", "belt", "dress", "glove"},
    "tool": {"hammer", "spade", "axe", "drill", "ladder", "knife", "brush", "rake"},
}
ADJECTIVES = ["clean", "wet", "new", "big", "long", "heavy", "cheap", "good", "lost"]
ANTONYMS = ["dirty", "dry", "old", "small", "short", "light", "expensive", "bad", "found"]
PRESENT = ["sees", "finds", "buys", "takes", "likes", "wants", "needs", "sells", "brings", "keeps", "holds", "has"]
PAST = ["saw", "found", "bought", "took", "liked", "wanted", "needed", "sold", "brought", "kept", "held", "had"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def odd_one_out(question: str, lines: list[str]) -> str:
    match = re.fullmatch(r"Which word is not (?:a (?!a)|an (?=a))(\w+)\?", question)
    assert match
    [odd] = [word for word in lines if word not in KINDS[match[1]]]
    assert sum(odd in words for words in KINDS.values()) == 1
    return odd


def owner(question: str, lines: list[str]) -> str:
    [thing] = re.findall(r"Who has the (\w+)\?", question)
    [line] = [line for line in lines if line.endswith(f" the {thing}.")]
    return line.split()[0]


def opposite(question: str, lines: list[str]) -> str:
    *start, adjective = lines[0].rstrip(".").split()
    there, back = ADJECTIVES + ANTONYMS, ANTONYMS + ADJECTIVES
    return " ".join([*start, back[there.index(adjective)]]) + "."


def past_tense(question: str, lines: list[str]) -> str:
    name, verb, *rest = lines[0].split()
    return " ".join([name, PAST[PRESENT.index(verb)], *rest])


def plural(question: str, lines: list[str]) -> str:
    start, colour, noun = lines[0].rstrip(".").rsplit(" ", 2)
    plurals = {"mouse": "mice", "knife": "knives", "cherry": "cherries"}
    plurals |= {word: word + "es" for word in ("fox", "peach", "dress", "brush")}
    return f"{start[:-3]}two {colour} {plurals.get(noun, noun + 's')}."


def next_word(question: str, lines: list[str]) -> str:
    return lines[lines.index(question.split('"')[1]) + 1]


ANSWERS: dict[str, Callable[[str, list[str]], str]] = {
    "first_word": lambda _, lines: lines[0],
    "last_word": lambda _, lines: lines[-1],
    "next_word": next_word,
    "odd_one_out": odd_one_out,
    "word_count": lambda _, lines: DIGITS[len(lines)],
    "owner": owner,
    "opposite": opposite,
    "past_tense": past_tense,
    "plural": plural,
    "digits_in_words": lambda _, lines: " ".join(DIGITS[int(digit)] for digit in lines[0].split()),
    "largest_number": lambda _, lines: max(lines, key=int),
    "alphabetical_order": lambda _, lines: "\n".join(sorted(lines)),
    "addition": lambda _, lines: str(sum(int(number) for number in lines[0].split(" + "))),
}

SEEDS = st.integers(0, 2**32)


def all_items(splits: dict[str, list[Item]]) -> list[Item]:
    return [item for items in splits.values() for item in items]


@pytest.mark.parametrize("category", CATEGORIES)
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_the_answer_is_right(category: str, seed: int) -> None:
    items = [item for item in all_items(generate(60, 0, 0, seed)) if item.category == category]
    assert len(items) == 60
    for item in items:
        assert item.output == ANSWERS[category](item.instruction, item.input.splitlines()), item


@given(seed=SEEDS, train=st.integers(1, 40), validation=st.integers(0, 10), test=st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_no_question_repeats_within_or_across_splits(seed: int, train: int, validation: int, test: int) -> None:
    splits = generate(train, validation, test, seed)
    for split, count in {"train": train, "validation": validation, "test": test}.items():
        expected = {category: count for category in CATEGORIES if count}
        assert Counter(item.category for item in splits[split]) == expected
    questions = [(item.instruction, item.input) for item in all_items(splits)]
    assert len(set(questions)) == len(questions)


def test_every_category_has_enough_items_with_even_and_tidy_answers() -> None:
    splits = generate(1500, 60, 100, seed=123)
    assert len(CATEGORIES) >= 10
    assert len({(item.instruction, item.input) for item in all_items(splits)}) == 1660 * len(CATEGORIES)
    for category in CATEGORIES:
        items = [item for item in all_items(splits) if item.category == category]
        [(_, most)] = Counter(item.output for item in items).most_common(1)
        assert most / len(items) < 0.25
        for item in items:
            assert item.output == item.output.strip() != ""
            assert item.output.endswith(".") == (category in {"opposite", "past_tense", "plural"})


def test_the_seed_decides_the_items() -> None:
    assert generate(20, 5, 5, seed=1) == generate(20, 5, 5, seed=1)
    assert generate(20, 5, 5, seed=1) != generate(20, 5, 5, seed=2)


def test_a_category_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = generate(20, 5, 5, seed=1)
    monkeypatch.setattr("gptsmith.data.mechanical.CATEGORIES", {"plural": CATEGORIES["plural"]})
    alone = generate(20, 5, 5, seed=1)
    assert alone == {
        split: [item for item in items if item.category == "plural"] for split, items in everything.items()
    }


def test_asking_for_too_many_says_which_category_and_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def coin(rng: Random) -> Item:
        return Item("Heads or tails?", rng.choice(["H", "T"]), "-", "coin")

    monkeypatch.setattr("gptsmith.data.mechanical.CATEGORIES", {"coin": coin})
    assert len(generate(1, 1, 0, seed=1)["train"]) == 1
    with pytest.raises(UserError, match=r"category coin has only about 2 different questions, not 3\n"):
        generate(1, 1, 1, seed=1)


def test_too_many_of_the_real_categories() -> None:
    with pytest.raises(UserError, match=r"category \w+ has only about \d,\d{3} different questions, not 5,000"):
        generate(4000, 500, 500, seed=123)
