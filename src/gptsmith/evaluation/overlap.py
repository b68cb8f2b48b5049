"""How much of its reference a response has: all of it, its words, its characters."""

import unicodedata
from collections import Counter

import regex

# Words, as far as no dictionary is needed: letters and digits with the marks on them (the vowel signs of Hindi are
# marks). Scripts that put no blanks between words give a word for each character, as is usual for Chinese.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_WORD = regex.compile(rf"(?V1){_UNSPACED}\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--{_UNSPACED}]+")

CHRF_ORDER = 6
CHRF_BETA = 2


def words(text: str) -> list[str]:
    """The words of a text of any script, in lower case and composed form (NFC); punctuation and symbols are none."""
    return _WORD.findall(unicodedata.normalize("NFC", text.lower()))


def exact_match(response: str, reference: str) -> bool:
    """Whether both are the same but for white space: ends are stripped, and each run inside counts as one
    blank. Capitals and punctuation count."""
    return response.split() == reference.split()


def rouge_l(pairs: list[tuple[str, str]]) -> list[float]:
    """ROUGE-L (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1) of pairs of
    response and reference: F1 of the longest common subsequence of words, without stemming.

    A pair without any words ("?!") scores 1 for an exact match.
    """
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds to import, and only this needs it

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    return [
        scorer.score(reference, response)["rougeL"].fmeasure
        if words(reference) or words(response)
        else float(exact_match(response, reference))
        for response, reference in pairs
    ]


class _Words:
    """In place of rouge-score's own tokenizer, which drops all but a-z and 0-9; the same on ASCII text."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def chrf(response: str, reference: str) -> float:
    """chrF (Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015, section 2), from 0 to 1.

    Precision and recall of character n-grams are averaged over n = 1 to 6, as far as both texts are that long, and
    recall counts `CHRF_BETA` times as much. White space is left out; capitals and punctuation count. The same as
    sacrebleu's sentence score without smoothing.
    """
    ours, theirs = ("".join(text.split()) for text in (response, reference))
    precisions, recalls = [], []
    for n in range(1, min(CHRF_ORDER, len(ours), len(theirs)) + 1):
        found, wanted = _ngrams(ours, n), _ngrams(theirs, n)
        shared = (found & wanted).total()
        precisions.append(shared / found.total())
        recalls.append(shared / wanted.total())
    if not sum(precisions):  # nothing in common
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall)


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[start : start + n] for start in range(len(text) - n + 1))
