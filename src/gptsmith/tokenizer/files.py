"""A tokenizer's files: GPT-2's vocab.json (token -> id) and merges.txt (one merge a line, in order), and what those
two do not say in tokenizer_settings.json (gptsmith.config.conventions).

The two are what Hugging Face's GPT-2 tokenizers load. OpenAI published them under the names
encoder.json and vocab.bpe. Tokens are spelled in the visible characters of `bpe.BYTE_TO_CHARACTER`.

The files may come from anywhere, so reading them checks all that the ids rest on. In particular a
token has to be what its merge makes, and has to be reached by merging its own bytes: only then does
looking up the ranks of byte strings, as tiktoken does, choose the same merges as looking up pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, takewhile
from pathlib import Path

from pydantic import ValidationError

from gptsmith.config.conventions import MERGES, SETTINGS, VOCABULARY, Conventions
from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json, write_text
from gptsmith.tokenizer.bpe import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, GPT2, BytePairEncoding, Pair

# UTF-8 has no 0xC0, 0xC1 and 0xF5-0xFF; the other bytes that may be missing are control characters and the first ones
# of characters that are not assigned, or for private use.
NEEDED_BYTES = {*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF1)}


def write_tokenizer(encoding: BytePairEncoding, folder: Path) -> None:
    """Write the three files into `folder`."""
    special = encoding.special_ids.values()
    spelled = [
        token.decode() if i in special else "".join(BYTE_TO_CHARACTER[byte] for byte in token)
        for i, token in enumerate(encoding.tokens)
    ]
    write_json(folder / VOCABULARY, {token: i for i, token in enumerate(spelled)})
    lines = [f"{spelled[left]} {spelled[right]}" for left, right in encoding.merges]
    write_text(folder / MERGES, "\n".join(["#version: 0.2", *lines, ""]))
    write_conventions(encoding.conventions, folder)


def write_conventions(conventions: Conventions, folder: Path) -> None:
    write_json(folder / SETTINGS, conventions.model_dump())


def read_conventions(folder: Path) -> Conventions:
    """GPT-2's where the folder has its two files alone. Raises UserError for a damaged file."""
    path = folder / SETTINGS
    if not path.exists():
        return GPT2
    try:
        return Conventions.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        raise UserError(f"{path}: {place}: {first['msg']}") from error


def read_tokenizer(vocabulary: Path, merges: Path, conventions: Conventions = GPT2) -> BytePairEncoding:
    """Read a vocab.json (or encoder.json) and its merges.txt (or vocab.bpe).

    Raises UserError, naming the file and the entry or line, when they are not a byte-level BPE whose ids are those
    of special tokens, then bytes, then what the merges make in their order, then other special tokens, among which
    is `conventions.end_of_text`.
    """
    for path in (vocabulary, merges):
        if not path.is_file():
            raise UserError(f"{path}: no such file; a tokenizer is a {VOCABULARY} and a {MERGES}")
    return encoding_of(_read_ids(vocabulary), _read_merges(merges), conventions, str(vocabulary), str(merges))


def encoding_of(
    ids: Mapping[str, int], merge_lines: Sequence[str], conventions: Conventions, vocabulary: str, merges: str
) -> BytePairEncoding:
    """The tokenizer of a vocabulary, in the order of its ids 0, 1, 2 ..., and of merges as in merges.txt.

    Raises UserError as `read_tokenizer` does; `vocabulary` and `merges` are what it calls the two.
    """
    tokens = list(ids)
    before = tuple(takewhile(lambda token: token not in CHARACTER_TO_BYTE, tokens))
    alphabet = bytes(
        CHARACTER_TO_BYTE[token] for token in takewhile(lambda token: token in CHARACTER_TO_BYTE, tokens[len(before) :])
    )
    if not set(alphabet) >= NEEDED_BYTES:
        raise UserError(f"{vocabulary}: the 256 bytes must stand side by side: this is not a byte-level vocabulary")
    pairs = _pairs(merge_lines, ids, len(before), len(alphabet), vocabulary, merges)
    after = tuple(tokens[len(before) + len(alphabet) + len(pairs) :])
    special = {conventions.end_of_text, *conventions.other_special_tokens}
    if missing := special - {*before, *after}:
        raise UserError(f"{vocabulary}: no special token {min(missing)} besides the bytes and what the merges make")
    if unknown := [token for token in (*before, *after) if token not in special]:
        raise UserError(
            f"{merges}: no line makes {unknown[0]!r} of {vocabulary}, which is no byte and no special token "
            f"({', '.join(sorted(special)[:5])}): the file is not whole"
        )
    encoding = BytePairEncoding(alphabet, pairs, before, after, conventions)
    if (torn := find_torn_token(encoding)) is not None:
        raise UserError(f"{merges}: merging never leads to token {torn} ({tokens[torn]!r}): the file is damaged")
    return encoding


def find_torn_token(encoding: BytePairEncoding) -> int | None:
    """The first token that merging its own bytes does not lead to, if there is one.

    It is one whose halves never meet, because an earlier merge joins a part at the end of the left
    half with a part at the start of the right half, while both parts exist.
    """
    for token, (left, right) in enumerate(encoding.merges, encoding.first_merged):
        for (a, a_until), (b, b_until) in product(_edge(encoding, left, token, 1), _edge(encoding, right, token, 0)):
            across = encoding.merged_ids.get((a, b), token)
            if across < a_until and across <= b_until:  # of equal pairs the left one is merged first
                return token
    return None


def _edge(encoding: BytePairEncoding, part: int, until: int, side: int) -> Iterator[tuple[int, int]]:
    """What stands at one edge (`side` 0: left, 1: right) while `part` is built, last first, each with the merge that
    ends it."""
    yield part, until
    while part >= encoding.first_merged:
        part, until = encoding.merges[part - encoding.first_merged][side], part
        yield part, until


def _read_ids(path: Path) -> dict[str, int]:
    """The vocabulary in the order of its ids."""
    ids = read_json(path)
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise UserError(f"{path}: not a JSON object of tokens and their ids")
    ids = dict(sorted(ids.items(), key=lambda entry: entry[1]))
    for expected, (token, i) in enumerate(ids.items()):
        if i != expected:
            raise UserError(f"{path}: token {token!r} has id {i} where {expected} is next: ids must be 0, 1, 2, ...")
    return ids


def _read_merges(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from error


def _pairs(
    lines: Sequence[str], ids: Mapping[str, int], n_before: int, n_bytes: int, vocabulary: str, merges: str
) -> tuple[Pair, ...]:
    header = bool(lines) and lines[0].startswith("#version")
    pairs: list[Pair] = []
    for number, line in enumerate(lines[header:], start=1 + header):
        parts = line.split(" ")
        made = n_before + n_bytes + len(pairs)
        if len(parts) != 2 or not all(parts):
            raise UserError(f"{merges}, line {number}: expected two tokens with a space between them, found {line!r}")
        for part in parts:
            if not n_before <= ids.get(part, made) < made:
                raise UserError(f"{merges}, line {number}: {part!r} is neither a byte nor made by an earlier line")
        if ids.get("".join(parts)) != made:
            raise UserError(
                f"{merges}, line {number}: makes {''.join(parts)!r}, which must have id {made} in {vocabulary}"
            )
        pairs.append((ids[parts[0]], ids[parts[1]]))
    return tuple(pairs)
