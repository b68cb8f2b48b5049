"""Our tokenizer against tiktoken's GPT-2 encoding and against Hugging Face's GPT-2 tokenizer and BPE trainer."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from gptsmith.tokenizer.bpe import BYTE_TO_CHARACTER, END_OF_TEXT, BytePairEncoding, train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import read_tokenizer, write_tokenizer

ENGLISH = [topic for _, topic in sorted(topics.items())]

# fmt: off
FRAGMENTS = [
    "I'm", "they'LL", "we've", "''", " don't", "'s", "'S", "snake_case", "CamelCase", "http://x.y/z?q=1", "...", "!?!",
    " the", " and", " representation", " SolidGoldMagikarp", " davidjl", "a" * 19, "=" * 70, "<|endoftext|>",
    "1984", "½", "²", "٣٤", "3.14e-10", " naïve", "cafe\u0301", "Straße", "ﬁ", " привет", "漢字かな", "한국어",
    "हिन्दी", "العربية", "☕", "👩\u200d👩\u200d👧", "🇫🇷", "\ufeff", "\0", "\u200b", "\u00a0", "\u3000", "\x1c", "\x85",
    "\t\n", "\r\n\n",
]
# fmt: on

# Python's tables are older than tiktoken's and regex's, so that what Python knows, both know alike.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cn"])),
    st.lists(st.sampled_from([*FRAGMENTS, " ", "  ", "\n", "'"])).map("".join),
)
examples = settings(derandomize=True, deadline=None, max_examples=300)


@pytest.fixture(scope="module")
def reference(gpt2_vocabulary: Path) -> tiktoken.Encoding:
    """GPT-2's encoding as tiktoken defines it, from the files on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        ranks = data_gym_to_mergeable_bpe_ranks(
            vocab_bpe_file=str(gpt2_vocabulary / "merges.txt"), encoder_json_file=str(gpt2_vocabulary / "vocab.json")
        )
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: 50256}, explicit_n_vocab=50257
    )


@pytest.fixture(scope="module")
def slow(gpt2_vocabulary: Path) -> BytePairEncoding:
    return read_tokenizer(gpt2_vocabulary / "vocab.json", gpt2_vocabulary / "merges.txt")


@pytest.fixture(scope="module")
def fast(gpt2_vocabulary: Path) -> Tokenizer:
    return load_tokenizer(gpt2_vocabulary, "gpt2")


@examples
@given(text=TEXTS)
def test_gpt2_ids_are_those_of_tiktoken(
    slow: BytePairEncoding, fast: Tokenizer, reference: tiktoken.Encoding, text: str
) -> None:
    expected = reference.encode_ordinary(text)
    assert slow.encode(text) == expected
    assert fast.encode(text) == expected
    assert slow.decode(expected) == fast.decode(expected) == text


def test_english_prose_has_the_ids_of_tiktoken(
    slow: BytePairEncoding, fast: Tokenizer, reference: tiktoken.Encoding
) -> None:
    text = "".join(ENGLISH)[:200_000]
    assert slow.encode(text) == fast.encode(text) == reference.encode_ordinary(text)


def test_every_token_has_the_bytes_that_tiktoken_gives_it(slow: BytePairEncoding, reference: tiktoken.Encoding) -> None:
    assert slow.tokens == [reference.decode_single_token_bytes(i) for i in range(reference.n_vocab)]


def test_written_files_are_as_published(gpt2_vocabulary: Path, slow: BytePairEncoding, tmp_path: Path) -> None:
    write_tokenizer(slow, tmp_path)
    assert (tmp_path / "merges.txt").read_bytes() == (gpt2_vocabulary / "merges.txt").read_bytes()
    written, published = (json.loads((folder / "vocab.json").read_bytes()) for folder in (tmp_path, gpt2_vocabulary))
    assert written == published


def test_training_learns_the_merges_of_the_hugging_face_trainer() -> None:
    ours = train(ENGLISH, 1000)
    theirs = HuggingFaceTokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    theirs.train_from_iterator(
        ENGLISH, trainers.BpeTrainer(vocab_size=999, initial_alphabet=alphabet, show_progress=False)
    )
    spelled = ["".join(BYTE_TO_CHARACTER[byte] for byte in token) for token in ours.tokens]
    merges = [[spelled[left], spelled[right]] for left, right in ours.merges]
    assert merges == json.loads(theirs.to_str())["model"]["merges"]


@pytest.mark.parametrize("vocabulary", ["gpt2", "trained"])
def test_transformers_loads_our_files_and_gives_our_ids(
    vocabulary: str, slow: BytePairEncoding, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, GPT2Tokenizer  # its import takes seconds: only where it is needed

    ours = slow if vocabulary == "gpt2" else train(ENGLISH[:20], 600)
    write_tokenizer(ours, tmp_path)
    tokenizers = [GPT2Tokenizer.from_pretrained(tmp_path)]
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    tokenizers.append(AutoTokenizer.from_pretrained(tmp_path))
    for theirs in tokenizers:
        assert len(theirs) == len(ours.tokens)
        assert theirs.eos_token_id == len(ours.tokens) - 1
        for text in [*FRAGMENTS, *ENGLISH[:20]]:
            ids = theirs(text, split_special_tokens=True)["input_ids"]
            assert ids == ours.encode(text)
            assert theirs.decode(ids, clean_up_tokenization_spaces=False) == text
