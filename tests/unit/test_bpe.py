"""The byte-pair encoding by itself, and its files."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.config.conventions import Conventions
from gptsmith.errors import UserError
from gptsmith.tokenizer.bpe import (
    BYTE_TO_CHARACTER,
    END_OF_TEXT,
    PRETOKEN_PATTERNS,
    BytePairEncoding,
    _pretokens,
    train,
)
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import find_torn_token, read_conventions, read_tokenizer, write_tokenizer

GPT2 = PRETOKEN_PATTERNS["gpt2"]
examples = settings(derandomize=True, deadline=None, max_examples=200)

TEXTS = [
    "the cat sat on the mat, and the rat sat on the cat",
    "It's 1984; they'll say: “naïve café”  ☕☕☕",
    "aaaaaaa",
]


@pytest.fixture(scope="module")
def trained() -> BytePairEncoding:
    return train(TEXTS, 290)


@pytest.fixture
def folder(tmp_path: Path, trained: BytePairEncoding) -> Path:
    write_tokenizer(trained, tmp_path)
    return tmp_path


def read(folder: Path) -> BytePairEncoding:
    return read_tokenizer(folder / "vocab.json", folder / "merges.txt")


def naive_merges(texts: list[str]) -> list[tuple[int, int]]:
    """Every merge there is, by counting everything anew for each."""
    id_of = {byte: i for i, byte in enumerate(BYTE_TO_CHARACTER)}
    words = [[id_of[byte] for byte in pretoken.encode()] for text in texts for pretoken in _pretokens(text, GPT2)]
    merges: list[tuple[int, int]] = []
    while counts := Counter(pair for word in words for pair in pairwise(word)):
        left, right = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append((left, right))
        for word in words:
            position = 0
            while position < len(word) - 1:
                if (word[position], word[position + 1]) == (left, right):
                    word[position : position + 2] = [255 + len(merges)]
                position += 1
    return merges


def test_every_byte_has_its_own_visible_character() -> None:
    assert sorted(BYTE_TO_CHARACTER) == list(range(256))
    assert len(set(BYTE_TO_CHARACTER.values())) == 256
    assert all(character.isprintable() and not character.isspace() for character in BYTE_TO_CHARACTER.values())
    assert BYTE_TO_CHARACTER[ord(" ")] == "Ġ"


@pytest.mark.parametrize(
    ("text", "pretokens"),
    [
        ("I'm here, don't", ["I", "'m", " here", ",", " don", "'t"]),
        ("a  b\n\n c \n", ["a", " ", " b", "\n\n", " c", " \n"]),
        ("x1 22 --y", ["x", "1", " 22", " --", "y"]),
        ("<|endoftext|>", ["<|", "endoftext", "|>"]),
    ],
)
def test_pretokens(text: str, pretokens: list[str]) -> None:
    assert list(_pretokens(text, GPT2)) == pretokens


def test_training_merges_the_most_frequent_pair_first() -> None:
    encoding = train(["ab ab ab abc"], 260)
    assert encoding.tokens[256:] == [b"ab", b" ab", b" abc", END_OF_TEXT.encode()]
    assert encoding.encode("ab abc cab") == [256, 258, encoding.byte_ids[ord(" ")], encoding.byte_ids[ord("c")], 256]


@examples
@given(st.lists(st.text("aab b'c☕", max_size=30), max_size=6), st.data())
def test_training_equals_counting_everything_anew(texts: list[str], data: st.DataObject) -> None:
    expected = naive_merges(texts)
    n_merges = data.draw(st.integers(0, len(expected)))
    encoding = train(texts, 257 + n_merges)
    assert list(encoding.merges) == expected[:n_merges]
    assert encoding == train(reversed(texts), 257 + n_merges)


def test_training_says_how_many_merges_there_are() -> None:
    with pytest.raises(UserError, match="needs 743 merges, but the texts have only 2: lower vocab_size to 259 or less"):
        train(["abc"], 1000)
    assert len(train(["abc"], 259).tokens) == 259


def test_training_needs_room_for_the_bytes() -> None:
    with pytest.raises(UserError, match="vocab_size 256"):
        train(TEXTS, 256)
    assert train([], 257).merges == ()


@examples
@given(st.text() | st.text("the cat ☕é'a1,\n"))
def test_decoding_gives_back_the_text(trained: BytePairEncoding, text: str) -> None:
    assert trained.decode(trained.encode(text)) == text


@examples
@given(st.text("the cat ☕é'a1,\n"))
def test_encoding_applies_the_merges_in_the_order_learned(trained: BytePairEncoding, text: str) -> None:
    expected = []
    for pretoken in _pretokens(text, GPT2):
        ids = [trained.byte_ids[byte] for byte in pretoken.encode()]
        for rank, pair in enumerate(trained.merges):
            position = 0
            while position < len(ids) - 1:
                if (ids[position], ids[position + 1]) == pair:
                    ids[position : position + 2] = [256 + rank]
                position += 1
        expected += ids
    assert trained.encode(text) == expected


def test_end_of_text_in_a_text_is_text(trained: BytePairEncoding) -> None:
    ids = trained.encode(f"a{END_OF_TEXT}b")
    assert len(trained.tokens) - 1 not in ids
    assert trained.decode(ids) == f"a{END_OF_TEXT}b"
    assert trained.decode([len(trained.tokens) - 1, *ids]) == f"a{END_OF_TEXT}b"


def test_half_a_character_decodes_to_the_replacement_character() -> None:
    encoding = train([], 257)
    assert encoding.decode(encoding.encode("a☕")[:-1]) == "a\ufffd"


@pytest.mark.parametrize("ids", [[-1], [290], [0, 2**40]])
def test_decoding_refuses_what_is_no_id(trained: BytePairEncoding, ids: list[int]) -> None:
    with pytest.raises(ValueError, match=f"{ids[-1]} is no token: ids go from 0 to 289"):
        trained.decode(ids)


def test_lone_surrogates_are_refused(trained: BytePairEncoding) -> None:
    with pytest.raises(UserError, match=r"character 3 of the text is U\+D83D"):
        trained.encode("ab\ud83d")
    with pytest.raises(UserError, match=r"U\+DC00"):
        train(["fine", "\udc00"], 257)


def test_files_give_back_the_encoding(folder: Path, trained: BytePairEncoding) -> None:
    assert read(folder) == trained
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary[END_OF_TEXT] == len(vocabulary) - 1 == 289
    assert vocabulary["Ġthe"] == trained.encode(" the")[0]


def test_content_hash_ignores_how_the_files_are_written(folder: Path, trained: BytePairEncoding) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(dict(reversed(vocabulary.items()))))
    merges = (folder / "merges.txt").read_text(encoding="utf-8")
    (folder / "merges.txt").write_bytes(merges.removeprefix("#version: 0.2\n").replace("\n", "\r\n").encode())
    assert read(folder).content_hash == trained.content_hash
    assert train(TEXTS, 289).content_hash != trained.content_hash


def renumber(vocabulary: dict[str, int]) -> dict[str, int]:
    return {token: i for i, token in enumerate(vocabulary)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: list(v), "not a JSON object"),
        (lambda v: v | {"a": "1"}, "not a JSON object"),
        (lambda v: v | {"a": True}, "not a JSON object"),
        (lambda v: v | {"a": 1}, "has id 1 where 2 is next"),
        (lambda v: v | {"a": -1}, "has id -1 where 0 is next"),
        (lambda v: {t: i for t, i in v.items() if i != 7}, "has id 8 where 7 is next"),
        (lambda _: {}, "must stand side by side"),
        (lambda v: renumber({t: i for t, i in v.items() if t != "a"}), "must stand side by side"),
        (lambda v: renumber({t: i for t, i in v.items() if t != END_OF_TEXT}), "no special token <|endoftext|>"),
        (lambda v: renumber({"ab": 0} | v), "no line makes 'ab' of .*vocab.json"),
        (lambda v: renumber({t: i for t, i in v.items() if i != 288}), "line 34: makes .* must have id 288"),
    ],
)
def test_damaged_vocabulary(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    path = folder / "vocab.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))))
    with pytest.raises(UserError, match=message) as error:
        read(folder)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b'{"a": 0,', b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_vocabulary_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "vocab.json").write_bytes(content)
    with pytest.raises(UserError, match=r"vocab\.json"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:3], "a b c"], "line 4: expected two tokens"),
        (lambda lines: [*lines[:3], "", *lines[4:]], "line 4: expected two tokens"),
        (lambda lines: [*lines[:3], " a", *lines[4:]], "line 4: expected two tokens"),
        (lambda lines: [*lines[:3], "a unheard", *lines[4:]], "line 4: 'unheard' is neither a byte nor made by"),
        (lambda lines: [*lines[:3], "a <|endoftext|>", *lines[4:]], "line 4: '<|endoftext|>' is neither"),
        (lambda lines: [lines[0], *reversed(lines[1:])], "line 2: .* is neither a byte nor made by an earlier line"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3: makes .* must have id 257"),
        (lambda lines: lines[:-1], "no line makes .* of .*vocab.json.*: the file is not whole"),
        (lambda lines: [*lines, "q q"], "line 35: makes 'qq', which must have id 289"),
    ],
)
def test_damaged_merges(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    path = folder / "merges.txt"
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=message.replace("|", r"\|")) as error:
        read(folder)
    assert str(path) in str(error.value)


SPECIAL_FIRST = Conventions(pretokens="smollm", end_of_text="<stop>", other_special_tokens=["<start>", "<pad>"])


def special_first(trained: BytePairEncoding) -> BytePairEncoding:
    """The same merges after two special tokens, without the bytes of control characters, and one behind."""
    alphabet = bytes(byte for byte in trained.alphabet if byte >= 32 or byte in b"\t\n\r")
    ids = {i: trained.tokens[i] for i in range(len(trained.tokens) - 1)}
    new_ids = {bytes([byte]): i for i, byte in enumerate(alphabet, 2)}
    new_ids |= {ids[256 + n]: 2 + len(alphabet) + n for n in range(len(trained.merges))}
    merges = tuple((new_ids[ids[left]], new_ids[ids[right]]) for left, right in trained.merges)
    return BytePairEncoding(alphabet, merges, ("<start>", "<stop>"), ("<pad>",), SPECIAL_FIRST)


def test_special_tokens_may_come_first(trained: BytePairEncoding, tmp_path: Path) -> None:
    encoding = special_first(trained)
    write_tokenizer(encoding, tmp_path)
    assert read_tokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt", read_conventions(tmp_path)) == encoding
    tokenizer = load_tokenizer(tmp_path, "special")
    assert (tokenizer.end_of_text, tokenizer.vocab_size) == (1, len(encoding.tokens)) == (1, 290 - 29 + 2)
    text = "the cat <stop> 1984"
    assert tokenizer.encode(text) == encoding.encode(text)
    assert tokenizer.decode(encoding.encode(text)) == text
    assert not {0, 1} & set(encoding.encode(text))


@examples
@given(st.text() | st.text("the cat \x04\x00☕12\n"))
def test_bytes_that_a_vocabulary_does_not_have_are_lost(trained: BytePairEncoding, text: str) -> None:
    encoding = special_first(trained)
    kept = "".join(character for character in text if ord(character) >= 32 or character in "\t\n\r")
    assert encoding.decode(encoding.encode(text)) == kept


@pytest.mark.parametrize(
    ("text", "pretokens"),
    [
        ("x12  34", ["x", "1", "2", "  ", "3", "4"]),
        ("a  b\n\n1 c \n", ["a", " ", " b", "\n\n", "1", " c", " \n"]),
        ("it's '9 ½٣", ["it", "'s", " '", "9", " ", "½", "٣"]),
    ],
)
def test_pretokens_with_single_digits(text: str, pretokens: list[str]) -> None:
    assert list(_pretokens(text, PRETOKEN_PATTERNS["smollm"])) == pretokens


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "settings.json"),
        ('{"pretokens": "llama"}', "pretokens: Input should be 'gpt2' or 'smollm'"),
        ('{"end_of_text": "<|im_end|>"}', r"no special token <\|im_end\|>"),
    ],
)
def test_damaged_conventions(folder: Path, content: str, message: str) -> None:
    (folder / "tokenizer_settings.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(folder, "damaged")


def test_a_folder_of_gpt2s_two_files_alone_is_a_tokenizer(folder: Path, trained: BytePairEncoding) -> None:
    (folder / "tokenizer_settings.json").unlink()
    assert load_tokenizer(folder, "old").byte_pairs == trained


def test_a_token_that_its_merges_never_reach_is_refused(tmp_path: Path) -> None:
    # "abc" is made of "ab" and "c", but "bc" is merged before "ab" can be.
    a, b, c = (train([], 257).byte_ids[ord(letter)] for letter in "abc")
    write_tokenizer(BytePairEncoding(bytes(BYTE_TO_CHARACTER), ((b, c), (a, b), (257, c))), tmp_path)
    with pytest.raises(UserError, match=r"merging never leads to token 258 \('abc'\)"):
        read(tmp_path)


@examples
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=6))
def test_torn_tokens_are_those_that_encoding_does_not_reach(choices: list[tuple[int, int]]) -> None:
    merges: list[tuple[int, int]] = []
    for choice in choices:
        parts = [64, 65, *range(256, 256 + len(merges))]
        pair = (parts[choice[0] % len(parts)], parts[choice[1] % len(parts)])
        longer = BytePairEncoding(bytes(BYTE_TO_CHARACTER), (*merges, pair))
        if longer.tokens[-2] not in longer.tokens[:-2]:
            merges.append(pair)
    encoding = BytePairEncoding(bytes(BYTE_TO_CHARACTER), tuple(merges))
    torn = [i for i, token in enumerate(encoding.tokens[:-1]) if encoding.encode_bytes(token) != [i]]
    assert find_torn_token(encoding) == next(iter(torn), None)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        read(folder)


def test_a_special_token_is_not_made_of_and_not_merged(trained: BytePairEncoding, tmp_path: Path) -> None:
    write_tokenizer(special_first(trained), tmp_path)
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    ids = json.loads(vocabulary.read_text())
    assert ids["<start>"] == 0
    made = {token: i for token, i in ids.items() if token != "<pad>"} | {"<start>a": len(ids) - 1, "<pad>": len(ids)}
    vocabulary.write_text(json.dumps(made))
    merges.write_text(merges.read_text() + "<start> a\n")
    with pytest.raises(UserError, match="line 35: '<start>' is neither a byte nor made by an earlier line"):
        read_tokenizer(vocabulary, merges, SPECIAL_FIRST)
