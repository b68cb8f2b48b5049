"""Responses against references, by values worked out by hand and by other implementations."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF

from gptsmith.evaluation.overlap import chrf, exact_match, rouge_l, words


@pytest.mark.parametrize(
    ("response", "reference", "same"),
    [
        ("Paris.", "Paris.", True),
        ("  Paris. \n", "Paris.", True),
        ("the  capital\nis\tParis", "the capital is Paris", True),
        ("paris.", "Paris.", False),
        ("Paris", "Paris.", False),
        ("Pa ris.", "Paris.", False),
        ("", "Paris.", False),
        (" ", "", True),
    ],
)
def test_exact_match_folds_white_space_only(response: str, reference: str, same: bool) -> None:
    assert exact_match(response, reference) is same


@pytest.mark.parametrize(
    ("response", "reference", "score"),
    [
        ("police kill the gunman", "police killed the gunman", 3 / 4),  # the examples of section 3.1, F1
        ("the gunman kill police", "police killed the gunman", 2 / 4),
        ("the cat", "The cat sat on the mat.", 2 * (1 * 2 / 6) / (1 + 2 / 6)),
        ("mat the on", "on the mat", 1 / 3),
        ("Straße über Köln", "straße ÜBER Köln", 1),
        ("Привет, мир", "привет мир", 1),
        ("cafe", "café", 0),
        ("", "word", 0),
        ("?!", "?!", 1),  # no words
        ("?!", "!?", 0),
        ("", "?!", 0),
        ("我喜欢猫", "我喜欢狗", 3 / 4),
        ("東京タワー", "東京タワー。", 1),
        ("ฉันรักแมว", "ฉันรักแมว", 1),
        ("مرحبا بالعالم", "مرحبا يا عالم", 2 * (1 / 2 * 1 / 3) / (1 / 2 + 1 / 3)),
        ("हिन्दी भाषा", "हिन्दू भाषा", 1 / 2),  # the vowel sign at the end of the first word differs
        ("cafe\u0301", "caf\u00e9", 1),  # one letter with its accent, or two characters
    ],
)
def test_rouge_l(response: str, reference: str, score: float) -> None:
    assert rouge_l([(response, reference)]) == [pytest.approx(score)]


@given(*[st.text("aB1 _-.\n", max_size=30)] * 2)
def test_rouge_l_of_ascii_text_is_that_of_the_usual_tokenizer(response: str, reference: str) -> None:
    assume(words(response) or words(reference))
    usual = RougeScorer(["rougeL"], use_stemmer=False).score(reference, response)["rougeL"].fmeasure
    assert rouge_l([(response, reference)]) == [usual]


@given(st.text(max_size=30))
def test_what_has_words_matches_itself(text: str) -> None:
    assume(words(text))
    assert rouge_l([(text, text)]) == [1]
    assert chrf(text, text) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't stop_me, 3.5!", ["don", "t", "stop", "me", "3", "5"]),
        ("GPT-2 读书ing", ["gpt", "2", "读", "书", "ing"]),
        ("ไม่ดี", ["ไ", "ม่", "ดี"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("🙂 + =", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("response", "reference", "score"),
    [
        ("Paris", "Paris", 1),
        ("7", "7", 1),
        ("P a r i s", "Paris", 1),
        ("paris", "PARIS", 0),
        ("", "Paris", 0),
        ("Paris", "", 0),
        ("ab", "abc", 5 * 1 * ((2 / 3 + 1 / 2) / 2) / (4 * 1 + (2 / 3 + 1 / 2) / 2)),  # n = 1 and 2 only
    ],
)
def test_chrf(response: str, reference: str, score: float) -> None:
    assert chrf(response, reference) == pytest.approx(score)


@given(*[st.text("abc é猫.\n", max_size=40)] * 2)
def test_chrf_is_that_of_sacrebleu(response: str, reference: str) -> None:
    theirs = CHRF().sentence_score(response, [reference]).score / 100
    assert chrf(response, reference) == pytest.approx(theirs)
