"""Instruction items with exactly one right answer, drawn by a seeded generator.

A category is one function from a random generator to one item. What they have in common is there for
models of a million parameters, which have minutes to learn from some thousand items:

- Few and common words, used by every category: each becomes one token and is met often.
- Lists stand one word a line. To a byte-level tokenizer "hat" and " hat" are different tokens; so a word
  is the same token wherever it stands in the list, and in the answer.
- Answers are spread evenly: neither the most frequent answer of a category nor that of a similar question gets far.
- One phrasing a category: of two phrasings of a question one could be in training, the other in the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from gptsmith.errors import UserError


@dataclass(frozen=True)
class Item:
    """A question (instruction and input) and its answer; only whole sentences end in a full stop."""

    instruction: str
    input: str
    output: str
    category: str


ANIMALS = ["cat", "dog", "horse", "cow", "lion", "bear", "mouse", "fox"]
COLOURS = ["red", "blue", "green", "yellow", "black", "white", "brown", "pink"]
FRUITS = ["apple", "pear", "plum", "peach", "lemon", "grape", "cherry", "banana"]
CLOTHES = ["hat", "coat", "shirt", "shoe", "sock", "belt", "dress", "glove"]
TOOLS = ["hammer", "spade", "axe", "drill", "ladder", "knife", "brush", "rake"]
KINDS = {"animal": ANIMALS, "colour": COLOURS, "fruit": FRUITS, "garment": CLOTHES, "tool": TOOLS}
WORDS = [word for words in KINDS.values() for word in words]
THINGS = FRUITS + CLOTHES + TOOLS

NAMES = ["Anna", "Tom", "Maria", "Ben", "Lucy", "Sam", "Emma", "Paul", "Nina", "Max"]

# Present: past. Each can stand between any name and any thing.
VERBS = {
    "sees": "saw",
    "finds": "found",
    "buys": "bought",
    "takes": "took",
    "likes": "liked",
    "wants": "wanted",
    "needs": "needed",
    "sells": "sold",
    "brings": "brought",
    "keeps": "kept",
    "holds": "held",
    "has": "had",
}

ANTONYMS = {
    "clean": "dirty",
    "wet": "dry",
    "new": "old",
    "big": "small",
    "long": "short",
    "heavy": "light",
    "cheap": "expensive",
    "good": "bad",
    "lost": "found",
}
OPPOSITES = ANTONYMS | {right: left for left, right in ANTONYMS.items()}

IRREGULAR_PLURALS = {"mouse": "mice", "cherry": "cherries", "knife": "knives"}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def plural_of(noun: str) -> str:
    regular = noun + ("es" if noun.endswith(("s", "x", "sh", "ch")) else "s")
    return IRREGULAR_PLURALS.get(noun, regular)


def first_word(rng: Random) -> Item:
    words = rng.sample(WORDS, rng.randint(3, 6))
    return Item("What is the first word?", "\n".join(words), words[0], "first_word")


def last_word(rng: Random) -> Item:
    words = rng.sample(WORDS, rng.randint(3, 6))
    return Item("What is the last word?", "\n".join(words), words[-1], "last_word")


def next_word(rng: Random) -> Item:
    words = rng.sample(WORDS, 4)
    place = rng.randrange(3)
    return Item(f'Which word follows "{words[place]}"?', "\n".join(words), words[place + 1], "next_word")


def odd_one_out(rng: Random) -> Item:
    """Three words of the kind that the question names and one of another."""
    named, other = rng.sample(list(KINDS), 2)
    odd = rng.choice(KINDS[other])
    words = [*rng.sample(KINDS[named], 3), odd]
    rng.shuffle(words)
    article = "an" if named == "animal" else "a"
    return Item(f"Which word is not {article} {named}?", "\n".join(words), odd, "odd_one_out")


def word_count(rng: Random) -> Item:
    words = rng.sample(WORDS, rng.randint(2, 6))
    return Item("How many words are there?", "\n".join(words), DIGITS[len(words)], "word_count")


def owner(rng: Random) -> Item:
    names, things = rng.sample(NAMES, 3), rng.sample(THINGS, 3)
    facts = [f"{name} has the {thing}." for name, thing in zip(names, things, strict=True)]
    asked = rng.randrange(3)
    return Item(f"Who has the {things[asked]}?", "\n".join(facts), names[asked], "owner")


def opposite(rng: Random) -> Item:
    subject = f"The {rng.choice(COLOURS)} {rng.choice(CLOTHES + TOOLS)}"
    adjective = rng.choice(list(OPPOSITES))
    return Item("Say the opposite.", f"{subject} is {adjective}.", f"{subject} is {OPPOSITES[adjective]}.", "opposite")


def past_tense(rng: Random) -> Item:
    name, verb, thing = rng.choice(NAMES), rng.choice(list(VERBS)), rng.choice(THINGS)
    now, then = f"{name} {verb} the {thing}.", f"{name} {VERBS[verb]} the {thing}."
    return Item("Use the past tense.", now, then, "past_tense")


def plural(rng: Random) -> Item:
    name, colour, noun = rng.choice(NAMES), rng.choice(COLOURS), rng.choice(ANIMALS + THINGS)
    one, two = f"{name} has one {colour} {noun}.", f"{name} has two {colour} {plural_of(noun)}."
    return Item("Change one to two.", one, two, "plural")


def digits_in_words(rng: Random) -> Item:
    digits = rng.choices(range(10), k=4)
    words = " ".join(DIGITS[digit] for digit in digits)
    return Item("Write the digits as words.", " ".join(map(str, digits)), words, "digits_in_words")


def largest_number(rng: Random) -> Item:
    numbers = rng.sample(range(10, 100), 3)
    return Item("Which number is the largest?", "\n".join(map(str, numbers)), str(max(numbers)), "largest_number")


def alphabetical_order(rng: Random) -> Item:
    words = rng.sample(WORDS, 3)
    return Item("Sort the words alphabetically.", "\n".join(words), "\n".join(sorted(words)), "alphabetical_order")


def addition(rng: Random) -> Item:
    """The larger number comes first: 27 + 58 in training would give 58 + 27 in the test away."""
    larger, smaller = sorted((rng.randint(10, 99), rng.randint(10, 99)), reverse=True)
    return Item("Add the numbers.", f"{larger} + {smaller}", str(larger + smaller), "addition")


CATEGORIES: Mapping[str, Callable[[Random], Item]] = {
    function.__name__: function
    for function in (
        first_word,
        last_word,
        next_word,
        odd_one_out,
        word_count,
        owner,
        opposite,
        past_tense,
        plural,
        digits_in_words,
        largest_number,
        alphabetical_order,
        addition,
    )
}


PATIENCE = 1_000
"""After so many repeated questions in a row a category counts as used up."""


def generate(train: int, validation: int, test: int, seed: int) -> dict[str, list[Item]]:
    """Draw that many items of every category for each split (the keys of the result); no question occurs twice.

    The same arguments give the same items. Each category has a random generator of its own, so that a new
    category leaves the items of the others as they are. Raises UserError when a category has too few questions.
    """
    splits: dict[str, list[Item]] = {"train": [], "validation": [], "test": []}
    for name, draw in CATEGORIES.items():
        items = _distinct(draw, train + validation + test, Random(f"{seed}/{name}"))  # noqa: S311 (no secrets here)
        splits["train"] += items[:train]
        splits["validation"] += items[train : train + validation]
        splits["test"] += items[train + validation :]
    return splits


def _distinct(draw: Callable[[Random], Item], count: int, rng: Random) -> list[Item]:
    """The first `count` items of `draw` with different questions."""
    items: dict[tuple[str, str], Item] = {}
    repeats = 0
    while len(items) < count:
        item = draw(rng)
        question = item.instruction, item.input
        repeats = repeats + 1 if question in items else 0
        if repeats == PATIENCE:
            raise UserError(
                f"mechanical: category {item.category} has only about {len(items):,} different questions, "
                f"not {count:,}\nLower train, validation or test there: they count items of each category."
            )
        items[question] = item
    return list(items.values())
