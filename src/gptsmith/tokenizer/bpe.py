"""Byte-level byte-pair encoding: how text becomes the numbers a GPT reads.

The idea (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016,
section 3.2): start from single symbols and, again and again, join the pair of neighbours that is
most frequent in a training text into a new symbol. Frequent words end up as one token, rare ones as
a few pieces. GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019,
section 2.2) starts from the 256 bytes of UTF-8 instead of from characters, so that no text in any
language is ever out of vocabulary, and keeps merges inside "pre-tokens" (words with the space before
them, numbers, runs of punctuation), so that "dog", "dog!" and "dog?" do not each become a token.

Ids: first the bytes, then the token that each merge makes, in order. Special tokens, to which no text encodes, come
before or after all of these: GPT-2 has one, `<|endoftext|>`, which marks the border between documents, as its last id;
SmolLM2 begins with 17.

This module is the reference, written to be read. `gptsmith.tokenizer.fast` gives the same ids sooner.
"""

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import regex

from gptsmith.config.conventions import Conventions
from gptsmith.errors import UserError

END_OF_TEXT = "<|endoftext|>"
GPT2 = Conventions()

PRETOKEN_PATTERNS = {
    # English clitics, letters, digits, other symbols (each with at most one space in front), and white space, of which
    # a run leaves its last character to the word that follows.
    "gpt2": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    # The same within what is between digits: so a digit takes no space in front, and a run before one is kept whole.
    "smollm": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+""",
}

Pair = tuple[int, int]


def _printable_bytes() -> dict[int, str]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


# GPT-2's files spell a token with one visible character a byte: a byte that is a printable Latin-1
# character as that character, the n-th of the others as U+0100 + n (so the space is "Ġ"). The order
# of this table is also the order of GPT-2's first 256 ids.
BYTE_TO_CHARACTER = _printable_bytes()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}


@dataclass(frozen=True)
class BytePairEncoding:
    """A tokenizer: bytes in the order of their ids, merges in the order they were learned, and special tokens.

    A merge is a pair of ids below that of the token it makes. Vocabularies made of much text may leave out bytes that
    it never has; where a text has one all the same, it is lost.
    """

    alphabet: bytes
    merges: tuple[Pair, ...]
    special_before: tuple[str, ...] = ()
    """Special tokens whose ids come before those of the bytes."""
    special_after: tuple[str, ...] = (END_OF_TEXT,)
    """Special tokens whose ids come after those of the merges."""
    conventions: Conventions = GPT2

    @cached_property
    def tokens(self) -> list[bytes]:
        """The bytes that each id stands for; a special token's are those of its name."""
        tokens = [*(name.encode() for name in self.special_before), *(bytes([byte]) for byte in self.alphabet)]
        for left, right in self.merges:
            tokens.append(tokens[left] + tokens[right])
        return [*tokens, *(name.encode() for name in self.special_after)]

    @property
    def first_merged(self) -> int:
        """The id that the first merge makes."""
        return len(self.special_before) + len(self.alphabet)

    @cached_property
    def special_ids(self) -> dict[str, int]:
        first_after = self.first_merged + len(self.merges)
        after = {name: i for i, name in enumerate(self.special_after, first_after)}
        return {name: i for i, name in enumerate(self.special_before)} | after

    @cached_property
    def merged_ids(self) -> dict[Pair, int]:
        """What a pair becomes. The smaller the id, the earlier the merge: ids serve as ranks."""
        return {pair: i for i, pair in enumerate(self.merges, self.first_merged)}

    @cached_property
    def byte_ids(self) -> dict[int, int]:
        return {byte: i for i, byte in enumerate(self.alphabet, len(self.special_before))}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over all that ids rest on: equal for two tokenizers exactly when all their ids are."""
        names = (self.special_before, self.special_after, self.conventions.pretokens, self.conventions.end_of_text)
        merges = np.array(self.merges, dtype="<u4").tobytes()
        return hashlib.sha256(json.dumps(names).encode() + self.alphabet + merges).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`. A special token's name in a text is text like any other.

        Raises UserError for a lone surrogate, which UTF-8 cannot hold.
        """
        pretokens = _pretokens(text, PRETOKEN_PATTERNS[self.conventions.pretokens])
        return [i for pretoken in pretokens for i in self.encode_bytes(pretoken.encode())]

    def encode_bytes(self, pretoken: bytes) -> list[int]:
        """Ids of one pre-token: of the merges that apply the earliest learned, until none applies."""
        ids = [self.byte_ids[byte] for byte in pretoken if byte in self.byte_ids]
        while applicable := [self.merged_ids[pair] for pair in pairwise(ids) if pair in self.merged_ids]:
            earliest = min(applicable)
            ids = _merge(ids, self.merges[earliest - self.first_merged], earliest)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, to which special tokens add nothing; bytes that are not UTF-8, as when a character was cut in
        two, become U+FFFD.

        Raises ValueError for a number that is no id.
        """
        check_ids(ids, len(self.tokens))
        special = self.special_ids.values()
        return b"".join(self.tokens[i] for i in ids if i not in special).decode("utf-8", errors="replace")


def train(texts: Iterable[str], vocab_size: int) -> BytePairEncoding:
    """Learn a tokenizer of `vocab_size` tokens: the 256 bytes, vocab_size - 257 merges, `<|endoftext|>`.

    Each step merges the pair that occurs most often inside the pre-tokens; of equally frequent ones
    the pair with the lower left id, then the lower right id. So the result depends on the texts
    alone, not on their order. Raises UserError when vocab_size is below 257 or asks for more merges
    than the texts have.
    """
    if vocab_size < 257:
        raise UserError(f"vocab_size {vocab_size}: the 256 bytes and {END_OF_TEXT} alone are 257 tokens")

    # A pre-token that occurs a thousand times is merged once and counted a thousand times.
    frequencies = Counter(pretoken for text in texts for pretoken in _pretokens(text, PRETOKEN_PATTERNS["gpt2"]))
    alphabet = bytes(BYTE_TO_CHARACTER)
    byte_ids = {byte: i for i, byte in enumerate(alphabet)}
    words = [[byte_ids[byte] for byte in pretoken.encode()] for pretoken in frequencies]
    counts = list(frequencies.values())

    # What pairs there are, how often, and in which words, is kept up to date: a step touches no other word.
    pair_counts: Counter[Pair] = Counter()
    words_with: defaultdict[Pair, set[int]] = defaultdict(set)
    for word, ids in enumerate(words):
        for pair in pairwise(ids):
            pair_counts[pair] += counts[word]
            words_with[pair].add(word)
    queue = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(queue)

    merges: list[Pair] = []
    while len(merges) < vocab_size - 257:
        if not queue:
            raise UserError(
                f"vocab_size {vocab_size} needs {vocab_size - 257} merges, but the texts have only {len(merges)}: "
                f"lower vocab_size to {len(merges) + 257} or less, or train on more text"
            )
        queued, best = heapq.heappop(queue)
        # After a pair has been queued its count can only fall, so an outdated entry is always found too early.
        if -queued != pair_counts[best]:
            if pair_counts[best] > 0:
                heapq.heappush(queue, (-pair_counts[best], best))
            continue
        new_id = 256 + len(merges)
        merges.append(best)
        new_pairs: set[Pair] = set()
        for word in words_with.pop(best):
            for pair in pairwise(words[word]):
                pair_counts[pair] -= counts[word]
            words[word] = _merge(words[word], best, new_id)
            for pair in pairwise(words[word]):
                pair_counts[pair] += counts[word]
                if new_id in pair:
                    words_with[pair].add(word)
                    new_pairs.add(pair)
        for pair in new_pairs:
            heapq.heappush(queue, (-pair_counts[pair], pair))
    return BytePairEncoding(alphabet, tuple(merges))


def _merge(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """`ids` with each occurrence of `pair`, from the left, replaced by `new_id`."""
    left, right = pair
    merged: list[int] = []
    for i in ids:
        if merged and merged[-1] == left and i == right:
            merged[-1] = new_id
        else:
            merged.append(i)
    return merged


def _pretokens(text: str, pattern: str) -> Iterable[str]:
    check_text(text)
    return (match.group() for match in regex.finditer(pattern, text))


def check_text(text: str) -> None:
    """Raise UserError when `text` has a lone surrogate (JSON such as "\\ud800" makes them), which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"character {error.start + 1} of the text is U+{ord(text[error.start]):04X}, half of a surrogate pair "
            "and not a character: remove it"
        ) from error


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Raise ValueError when a number is not one of the ids 0 to vocab_size - 1."""
    for i in ids:
        if not 0 <= i < vocab_size:
            raise ValueError(f"{i} is no token: ids go from 0 to {vocab_size - 1}")
