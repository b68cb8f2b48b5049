"""GPT-2's tokenizer files: vocab.json (token -> id) and merges.txt (one merge a line, in order).

They are what Hugging Face's GPT-2 tokenizers load. OpenAI published the same two under the names
encoder.json and vocab.bpe. Tokens are spelled in the visible characters of `bpe.BYTE_TO_CHARACTER`.

The files may come from anywhere, so reading them checks all that the ids rest on. In particular a
token has to be what its merge makes, and has to be reached by merging its own bytes: only then does
looking up the ranks of byte strings, as tiktoken does, choose the same merges as looking up pairs.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json, write_text
from gptsmith.tokenizer.bpe import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, END_OF_TEXT, BytePairEncoding, Pair


def write_tokenizer(encoding: BytePairEncoding, folder: Path) -> None:
    """Write vocab.json and merges.txt into `folder`."""
    spelled = ["".join(BYTE_TO_CHARACTER[byte] for byte in token) for token in encoding.tokens[:-1]]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate([*spelled, END_OF_TEXT])})
    lines = [f"{spelled[left]} {spelled[right]}" for left, right in encoding.merges]
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *lines, ""]))


def read_tokenizer(vocabulary: Path, merges: Path) -> BytePairEncoding:
    """Read a vocab.json (or encoder.json) and its merges.txt (or vocab.bpe).

    Raises UserError, naming the file and the entry or line, when they are not a byte-level BPE whose
    first 256 ids are the bytes, whose i-th merge makes id 256 + i, and whose last id is `<|endoftext|>`.
    """
    for path in (vocabulary, merges):
        if not path.is_file():
            raise UserError(f"{path}: no such file; a tokenizer is a vocab.json and a merges.txt")
    ids = _read_ids(vocabulary)
    encoding = BytePairEncoding(
        alphabet=bytes(CHARACTER_TO_BYTE[character] for character in list(ids)[:256]),
        merges=_read_merges(merges, ids, vocabulary),
    )
    if (torn := find_torn_token(encoding)) is not None:
        raise UserError(f"{merges}: merging never leads to token {torn} ({list(ids)[torn]!r}): the file is damaged")
    return encoding


def find_torn_token(encoding: BytePairEncoding) -> int | None:
    """The first token that merging its own bytes does not lead to, if there is one.

    It is one whose halves never meet, because an earlier merge joins a part at the end of the left
    half with a part at the start of the right half, while both parts exist.
    """
    for token, (left, right) in enumerate(encoding.merges, start=256):
        for (a, a_until), (b, b_until) in product(_edge(encoding, left, token, 1), _edge(encoding, right, token, 0)):
            across = encoding.merged_ids.get((a, b), token)
            if across < a_until and across <= b_until:  # of equal pairs the left one is merged first
                return token
    return None


def _edge(encoding: BytePairEncoding, part: int, until: int, side: int) -> Iterator[tuple[int, int]]:
    """What stands at one edge (`side` 0: left, 1: right) while `part` is built, last first, each with the merge that
    ends it."""
    yield part, until
    while part >= 256:
        part, until = encoding.merges[part - 256][side], part
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
    tokens = list(ids)
    if tokens[-1:] != [END_OF_TEXT]:
        raise UserError(f"{path}: the last id must be that of {END_OF_TEXT}")
    if set(tokens[:256]) != set(CHARACTER_TO_BYTE):
        raise UserError(f"{path}: ids 0 to 255 must be the 256 bytes: this is not a byte-level vocabulary")
    return ids


def _read_merges(path: Path, ids: dict[str, int], vocabulary: Path) -> tuple[Pair, ...]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from error
    header = lines[0].startswith("#version")
    merges: list[Pair] = []
    for number, line in enumerate(lines[header:], start=1 + header):
        parts = line.split(" ")
        made = 256 + len(merges)
        if len(parts) != 2 or not all(parts):
            raise UserError(f"{path}, line {number}: expected two tokens with a space between them, found {line!r}")
        for part in parts:
            if ids.get(part, made) >= made:
                raise UserError(f"{path}, line {number}: {part!r} is neither a byte nor made by an earlier line")
        if ids.get("".join(parts)) != made:
            raise UserError(
                f"{path}, line {number}: makes {''.join(parts)!r}, which must have id {made} in {vocabulary}"
            )
        merges.append((ids[parts[0]], ids[parts[1]]))
    if len(merges) != len(ids) - 257:
        raise UserError(f"{path}: has {len(merges)} merges; {vocabulary} with {len(ids)} tokens needs {len(ids) - 257}")
    return tuple(merges)
