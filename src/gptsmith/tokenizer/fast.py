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

from gptsmith.config.conventions import MERGES, VOCABULARY, Conventions
from gptsmith.errors import UserError
from gptsmith.tokenizer.bpe import PRETOKEN_PATTERNS, BytePairEncoding, check_ids, check_text
from gptsmith.tokenizer.files import read_conventions, read_tokenizer

# Matching a longer run of white space overflows the stack of tiktoken's regular-expression engine.
_LONGEST_WHITE_SPACE = 900_000
_WHITE_SPACE = regex.compile(r"\s+")

_PIECE = 2**20
"""Characters."""
# White space is in no pre-token but at its beginning, and what comes before it does not decide how it is cut.
_BORDER = regex.compile(r"\S(?=[ \n])")


@dataclass(frozen=True)
class Vocabulary:
    """The ids that a model may choose from; those from `size` on are padding of its own vocabulary."""

    size: int
    end_of_text: int


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back."""

    name: str
    encoding: tiktoken.Encoding
    byte_pairs: BytePairEncoding
    """The reference, of which `encoding` makes the ids sooner."""

    @property
    def content_hash(self) -> str:
        return self.byte_pairs.content_hash

    @property
    def conventions(self) -> Conventions:
        return self.byte_pairs.conventions

    @property
    def vocab_size(self) -> int:
        return self.encoding.n_vocab

    @property
    def end_of_text(self) -> int:
        """The id after a text or an answer."""
        return self.byte_pairs.special_ids[self.conventions.end_of_text]

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.vocab_size, self.end_of_text)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`. A special token's name in a text is text like any other.

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
        return map(self._encode_piece, _pieces(text))

    def _encode_piece(self, text: str) -> list[int]:
        # tiktoken breaks off at a byte that the vocabulary does not have.
        if len(alphabet := self.byte_pairs.alphabet) < 256 and text.encode().translate(None, alphabet):
            return self.byte_pairs.encode(text)
        return self.encoding.encode_ordinary(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, to which special tokens add nothing; bytes that are not UTF-8, as when a character was cut in
        two, become U+FFFD.

        Raises ValueError for a number that is no id.
        """
        check_ids(ids, self.vocab_size)
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", errors="replace")

    def bytes_of(self, token: int) -> bytes:
        """What one id adds to a text."""
        if token in self.byte_pairs.special_ids.values():
            return b""
        return self.encoding.decode_single_token_bytes(token)


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text only where all `PRETOKEN_PATTERNS` do, whatever stands around."""
    start = 0
    while start < len(text):
        border = _BORDER.search(text, start + _PIECE)
        end = border.end() if border else len(text)
        yield text[start:end]
        start = end


def load_tokenizer(folder: Path, name: str) -> Tokenizer:
    """Load the tokenizer files of `folder`; raises UserError as `read_tokenizer` and `read_conventions` do."""
    byte_pairs = read_tokenizer(folder / VOCABULARY, folder / MERGES, read_conventions(folder))
    special = byte_pairs.special_ids
    encoding = tiktoken.Encoding(
        name,
        pat_str=PRETOKEN_PATTERNS[byte_pairs.conventions.pretokens],
        mergeable_ranks={token: i for i, token in enumerate(byte_pairs.tokens) if i not in special.values()},
        special_tokens=special,
    )
    return Tokenizer(name, encoding, byte_pairs)
