"""The tokenizer that the pipeline runs: tiktoken's compiled encoder over our own ranks.

It gives the ids of `bpe.BytePairEncoding` (a test compares them). One difference is possible: tiktoken
and `regex` each bring their own Unicode tables, so a letter or digit younger than the older of the two
may be split off differently. Decoding gives back the text in any case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import regex
import tiktoken

from gptsmith.errors import UserError
from gptsmith.tokenizer.bpe import END_OF_TEXT, PRETOKEN_PATTERN, check_ids, check_text
from gptsmith.tokenizer.files import read_tokenizer

# Matching a longer run of white space overflows the stack of tiktoken's regular-expression engine.
_LONGEST_WHITE_SPACE = 900_000
_WHITE_SPACE = regex.compile(r"\s+")

_PIECE = 2**20
"""Characters."""
# White space is in no pre-token but at its beginning, and what comes before it does not decide how it is cut.
_BORDER = regex.compile(r"\S(?=[ \n])")


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back."""

    name: str
    content_hash: str
    encoding: tiktoken.Encoding

    @property
    def vocab_size(self) -> int:
        return self.encoding.n_vocab

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`: the last one."""
        return self.encoding.eot_token

    def encode(self, text: str) -> list[int]:
        """Ids of `text`. `<|endoftext|>` in a text is text like any other.

        Raises UserError for a lone surrogate, and for 900,000 characters of white space in a row.
        """
        return list(chain.from_iterable(self.encode_pieces(text)))

    def encode_pieces(self, text: str) -> Iterator[list[int]]:
        """What `encode` gives, for about a million characters at a time: a list of ids is ten times its size."""
        check_text(text)
        if len(text) >= _LONGEST_WHITE_SPACE:
            for blank in _WHITE_SPACE.finditer(text):
                if blank.end() - blank.start() >= _LONGEST_WHITE_SPACE:
                    raise UserError(
                        f"at least {_LONGEST_WHITE_SPACE:,} characters of white space in a row, "
                        f"from character {blank.start() + 1} of a text: shorten them"
                    )
        return map(self.encoding.encode_ordinary, _pieces(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are not UTF-8, as when a character was cut in two, become U+FFFD.

        Raises ValueError for a number that is no id.
        """
        check_ids(ids, self.vocab_size)
        return self.encoding.decode(ids, errors="replace")


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text only where `PRETOKEN_PATTERN` always does, whatever stands around."""
    start = 0
    while start < len(text):
        border = _BORDER.search(text, start + _PIECE)
        end = border.end() if border else len(text)
        yield text[start:end]
        start = end


def load_tokenizer(folder: Path, name: str) -> Tokenizer:
    """Load the vocab.json and merges.txt of `folder`; raises UserError as `read_tokenizer` does."""
    byte_pairs = read_tokenizer(folder / "vocab.json", folder / "merges.txt")
    *mergeable, _ = byte_pairs.tokens
    encoding = tiktoken.Encoding(
        name,
        pat_str=PRETOKEN_PATTERN,
        mergeable_ranks={token: i for i, token in enumerate(mergeable)},
        special_tokens={END_OF_TEXT: len(mergeable)},
    )
    return Tokenizer(name, byte_pairs.content_hash, encoding)
