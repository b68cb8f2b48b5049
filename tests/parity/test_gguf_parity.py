"""Models and tokenizers of GGUF files against transformers and `tokenizers` on the same files."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from gptsmith.checkpoint.gguf import load_gguf
from gptsmith.config.generation import Generation
from gptsmith.generation.generate import generate
from gptsmith.sources.gguf import read_header
from gptsmith.tokenizer.chat import Message, encode_chat
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.gguf import extract_tokenizer
from tests.gguf_files import tiny_llama, write_gguf

ROOT = Path(__file__).parents[2]
SHAPES: list[dict[str, Any]] = [
    {},
    {"tie_word_embeddings": False, "num_key_value_heads": 4, "rms_norm_eps": 0.1},
    {"num_attention_heads": 8, "num_key_value_heads": 1, "rope_theta": 500.0},
]
F32, F16, Q8_0, Q4_1 = (GGMLQuantizationType[name] for name in ("F32", "F16", "Q8_0", "Q4_1"))


def load_theirs(path: Path) -> Any:
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval()


@pytest.mark.parametrize("kind", [F32, F16, Q8_0, Q4_1], ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_logits_of_small_files(shape: dict[str, Any], kind: GGMLQuantizationType, tmp_path: Path) -> None:
    original = tiny_llama(**shape)
    write_gguf(tmp_path / "model.gguf", original, kind)
    ours, theirs = load_gguf(tmp_path / "model.gguf"), load_theirs(tmp_path / "model.gguf")
    input_ids = torch.randint(ours.architecture.vocab_size, (2, 60), generator=torch.Generator().manual_seed(1))
    logits = ours(input_ids)
    assert (logits - theirs(input_ids).logits).abs().max() < 1e-4
    if kind == F32:
        assert (logits - original(input_ids).logits).abs().max() < 1e-4


def test_headers_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", tiny_llama(), Q4_1)
    header, reader = read_header(tmp_path / "model.gguf"), GGUFReader(tmp_path / "model.gguf")
    values = {key: list(value) if isinstance(value, np.ndarray) else value for key, value in header.values.items()}
    assert values == {k: field.contents() for k, field in reader.fields.items() if not k.startswith("GGUF.")}
    assert {name: (t.shape, t.type_code, t.offset) for name, t in header.tensors.items()} == {
        t.name: (tuple(reversed(t.shape.tolist())), t.tensor_type, t.data_offset) for t in reader.tensors
    }


# The real file


@pytest.fixture(scope="module")
def theirs(smollm2_gguf: Path) -> Any:
    return load_theirs(smollm2_gguf)


@pytest.fixture(scope="module")
def tokenizer(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("smollm2")
    extract_tokenizer(smollm2_gguf, folder)
    return load_tokenizer(folder, "smollm2")


@pytest.fixture(scope="module")
def published(smollm2_gguf: Path) -> tokenizers.Tokenizer:
    """With the file's vocabulary and merges, and the pre-tokenizer of the published tokenizer.json."""
    values = read_header(smollm2_gguf).values
    vocabulary = {token: i for i, token in enumerate(values["tokenizer.ggml.tokens"])}
    merges = [(left, right) for left, right in (line.split(" ") for line in values["tokenizer.ggml.merges"])]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


@pytest.fixture(scope="module")
def of_transformers(smollm2_gguf: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)


TEXTS = [
    "Free entry in 2 a wkly comp to win FA Cup final tkts 21st May 2005. Text FA to 87121 to receive entry question",
    "Ok lar... Joking wif u oni...",
    "URGENT! You have won a 1 week FREE membership in our £100,000 Prize Jackpot! Txt the word: CLAIM to No: 81010",
    "I'll be home at 6:30, don't wait with dinner. Love you xx",
    "Rewrite the sentence in the passive voice: The chef cooks the meal every day.",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "Below is an instruction that describes a task. Write a response that completes the request.\n\n### Instruction:\n",
    "def fibonacci(n):\n    a, b = 0, 1\n    while a < n:\n        yield a\n        a, b = b, a + b\n",
    '{"name": "x", "values": [1, 2.5, -3e8], "nested": {"ok": true, "none": null}}',
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name ORDER BY 2 DESC LIMIT 10;",
    "Die Übermütigen fuhren mit 120 km/h über die Straße nach Düsseldorf.",
    "L'été dernier, j'ai mangé des crêpes à l'œuf près de Nîmes.",
    "Все счастливые семьи похожи друг на друга.",
    "吾輩は猫である。名前はまだ無い。",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "So tired 😴😴 but the 👩‍👩‍👧‍👦 came by 🏳️‍🌈🇩🇪!!",
    "   leading and    inner spaces\t\ttabs\r\n\r\n\n trailing   ",
    "x = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a},  1234567890  0.000001",
    "Once upon a time there was a little house at the edge of the woods. " * 8,
]
TOLERANCE = 1e-3


@torch.no_grad()
def test_logits_of_smollm2(smollm2_gguf: Path, theirs: Any, tokenizer: Tokenizer) -> None:
    ours = load_gguf(smollm2_gguf)
    largest = 0.0
    for text in TEXTS:
        input_ids = torch.tensor([tokenizer.encode(text)])
        difference = (ours(input_ids) - theirs(input_ids).logits).abs().max().item()
        largest = max(largest, difference)
    print(f"largest difference of a logit: {largest:.2g}")
    assert largest < TOLERANCE


QUESTIONS = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Translate to German: Good morning.",
    "What is 12 + 30?",
]


@torch.no_grad()
def test_greedy_answers_of_smollm2(smollm2_gguf: Path, theirs: Any, tokenizer: Tokenizer, of_transformers: Any) -> None:
    """Also the chat format, which transformers renders by itself."""
    ours = load_gguf(smollm2_gguf)
    prompts = [encode_chat(tokenizer, [Message("user", question)]) for question in QUESTIONS]
    settings = Generation(max_new_tokens=24)
    answers = generate(ours, prompts, settings, tokenizer.vocabulary, range(len(prompts)))
    for question, prompt, answer in zip(QUESTIONS, prompts, answers, strict=True):
        conversation = [{"role": "user", "content": question}]
        rendered = of_transformers.apply_chat_template(conversation, add_generation_prompt=True)
        assert prompt == rendered["input_ids"]
        written = theirs.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)
        expected = written[0, len(prompt) :].tolist()
        ended = expected.index(tokenizer.end_of_text) if tokenizer.end_of_text in expected else len(expected)
        assert same_but_for_near_ties(theirs, prompt, answer.input_ids, expected[:ended])
        assert (answer.finish_reason == "stop") == (ended < len(expected))


def same_but_for_near_ties(model: Any, prompt: list[int], ours: list[int], expected: list[int]) -> bool:
    agreed = next((n for n, (a, b) in enumerate(zip(ours, expected, strict=False)) if a != b), None)
    if agreed is None:
        return len(ours) == len(expected)
    first, second = model(torch.tensor([prompt + expected[:agreed]])).logits[0, -1].topk(2).values.tolist()
    return first - second < TOLERANCE


# transformers' reading of the file does not part digits from what is before them: of several white-space characters the
# last one goes to the digit. Those of ASCII are in no merge and are apart in either case, others (½) are not.
OTHER_NUMBER = r"[^\P{N}0-9]"
DIFFERENT = regex.compile(rf"\s\s\p{{N}}|[\s\p{{N}}]{OTHER_NUMBER}|{OTHER_NUMBER}\p{{N}}")
# Characters that decide where text is cut, and any others.
PIECES = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", "0", "42", "½", "٣", "一", "’s", "'ll", "é", "e\u0301", "👍🏽"]
UNICODE = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
NO_CHECKS = list(HealthCheck)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None, suppress_health_check=NO_CHECKS)
@given(text=UNICODE)
def test_tokens_of_generated_texts(
    tokenizer: Tokenizer, published: tokenizers.Tokenizer, of_transformers: Any, text: str
) -> None:
    check_tokens(text, tokenizer, published, of_transformers)


def check_tokens(text: str, tokenizer: Tokenizer, published: tokenizers.Tokenizer, of_transformers: Any) -> bool:
    """Whether transformers' reading is the same too."""
    ids = tokenizer.encode(text)
    assert ids == published.encode(text, add_special_tokens=False).ids
    same = ids == of_transformers(text, add_special_tokens=False).input_ids
    assert same or DIFFERENT.search(text), repr(text)
    return same


def starter_texts() -> list[str]:
    lines = (ROOT / "resources" / "starter-instructions.jsonl").read_text(encoding="utf-8").splitlines()
    return [value for line in lines for value in json.loads(line).values() if isinstance(value, str)]


def mirrored_texts() -> list[str]:
    """5,574 messages, 1,100 instructions, a story."""
    mirror = ROOT.parent / "shared" / "mirror"
    if not mirror.is_dir():
        pytest.skip("../shared/mirror is missing")
    published = mirror / "raw.githubusercontent.com" / "rasbt" / "LLMs-from-scratch" / "main"
    with zipfile.ZipFile(next(mirror.rglob("sms+spam+collection.zip"))) as archive:
        messages = archive.read("SMSSpamCollection").decode().splitlines()
    items = json.loads((published / "ch07" / "01_main-chapter-code" / "instruction-data.json").read_text())
    story = (published / "ch02" / "01_main-chapter-code" / "the-verdict.txt").read_text()
    return [line.partition("\t")[2] for line in messages] + [text for item in items for text in item.values()] + [story]


@pytest.mark.parametrize(("read", "different"), [(starter_texts, 0), (mirrored_texts, 1)])
def test_tokens_of_data_sets(
    read: Callable[[], list[str]],
    different: int,
    tokenizer: Tokenizer,
    published: tokenizers.Tokenizer,
    of_transformers: Any,
) -> None:
    same = [check_tokens(text, tokenizer, published, of_transformers) for text in read()]
    assert len(same) > 100
    assert same.count(False) == different
