import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from gptsmith.config.architecture import Architecture
from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation import decoding, likelihood
from gptsmith.generation.generate import Generated, generate
from gptsmith.generation.likelihood import response_likelihood
from gptsmith.generation.responses import write_responses
from gptsmith.generation.sampling import choose
from gptsmith.generation.stream import stream
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import LanguageModel
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer import bpe
from gptsmith.tokenizer.fast import Tokenizer, Vocabulary, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import Tokens
from gptsmith.training.compute import Compute

END_OF_TEXT = 40
VOCABULARY = Vocabulary(END_OF_TEXT + 1, END_OF_TEXT)
# Three rows of the vocabulary are padding above the last token.
ARCHITECTURE = Architecture(vocab_size=44, context_length=24, d_model=24, n_layers=2, n_heads=4)
SAMPLED = Generation(max_new_tokens=12, temperature=1.5, top_k=30, top_p=0.95, seed=7, batch_size=3)
GREEDY = Generation(max_new_tokens=12, batch_size=3)


def language_model(architecture: Architecture = ARCHITECTURE) -> LanguageModel:
    """With weights large enough for decided answers."""
    model = new_language_model(architecture, torch.Generator().manual_seed(4)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)
    return model


def prompts(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(END_OF_TEXT, (length,), generator=generator).tolist() for length in lengths]


PROMPTS = prompts([3, 9, 1, 4, 23, 4, 20, 2, 4, 15])
IDS = list(range(100, 110))
# As a template's prompts. One is all of the beginning, one goes no further than another.
BEGINNING = [7, 3, 3, 11]
ALIKE = [BEGINNING + rest for rest in [[], *prompts([2, 5, 1]), [9], [9, 9], *prompts([12, 1, 3, 2])]]


def generate_uncached(model: LanguageModel, prompt: list[int], settings: Generation, item: int) -> Generated:
    """The definition: one prompt, the whole model again for every token."""
    random = [np.random.default_rng((settings.seed, item))]
    tokens = list(prompt)
    while len(tokens) < model.architecture.context_length and len(tokens) < len(prompt) + settings.max_new_tokens:
        with torch.no_grad():
            logits = decoding.float32_logits(model, model.trunk(torch.tensor([tokens]))[:, -1])[:, : END_OF_TEXT + 1]
        token = int(choose(logits, settings, random))
        if token == END_OF_TEXT:
            return Generated(tokens[len(prompt) :], "stop")
        tokens.append(token)
    return Generated(tokens[len(prompt) :], "length")


FP32, BF16 = (Compute(torch.device("cpu"), precision) for precision in ("fp32", "bf16"))
BOTH_SETTINGS = pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
BOTH_PROMPTS = pytest.mark.parametrize("several", [PROMPTS, ALIKE], ids=["different", "alike"])


@BOTH_SETTINGS
@BOTH_PROMPTS
def test_cached_batches_answer_like_single_uncached_prompts(settings: Generation, several: list[list[int]]) -> None:
    model = language_model()
    expected = [generate_uncached(model, prompt, settings, item) for prompt, item in zip(several, IDS, strict=True)]
    for batch_size in (1, 3, 10):
        settings = settings.model_copy(update={"batch_size": batch_size})
        assert generate(model, several, settings, VOCABULARY, IDS) == expected


@BOTH_SETTINGS
@BOTH_PROMPTS
def test_a_stream_is_what_generate_answers(settings: Generation, several: list[list[int]]) -> None:
    model = language_model()
    responses = generate(model, several, settings, VOCABULARY, IDS)
    streamed = [list(stream(model, prompt, settings, VOCABULARY, i)) for prompt, i in zip(several, IDS, strict=True)]
    assert streamed == [response.input_ids for response in responses]


def steps_of(module: nn.Module) -> list[tuple[int, ...]]:
    """The shapes [rows, positions] that `module` is going to be called with."""
    shapes: list[tuple[int, ...]] = []
    module.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[:2])))
    return shapes


def test_a_stream_computes_no_token_before_it_is_asked_for() -> None:
    model = language_model()
    shapes, graphs = steps_of(model.trunk), []
    model.trunk.register_forward_hook(lambda *call: graphs.append(call[-1].requires_grad))
    tokens = stream(model, PROMPTS[1], GREEDY, VOCABULARY)
    assert shapes == []
    for n_asked in (1, 2, 3):
        next(tokens)
        assert torch.is_grad_enabled()  # what the reader does in between is the reader's
        assert shapes == [(1, len(PROMPTS[1])), (1, 1), (1, 1)][:n_asked]
    assert not any(graphs)


def test_a_stream_of_a_prompt_without_room_says_so() -> None:
    with pytest.raises(UserError, match="item 0: its prompt has 24 tokens"):
        next(stream(language_model(), [1] * 24, GREEDY, VOCABULARY))


def test_every_position_is_computed_once_and_a_shared_beginning_once_for_all() -> None:
    model, settings = language_model(), GREEDY.model_copy(update={"batch_size": 10})
    shapes = steps_of(model.trunk)
    responses = generate(model, ALIKE[1:], settings, VOCABULARY, IDS[1:])
    texts = [len(prompt) + len(response.input_ids) for prompt, response in zip(ALIKE[1:], responses, strict=True)]
    never_read = sum(response.finish_reason == "length" for response in responses)  # the last token of each
    n_shared = len(BEGINNING)
    assert shapes[0] == (1, n_shared)
    assert sum(rows * length for rows, length in shapes[1:]) == sum(texts) - n_shared * len(texts) - never_read


def test_batches_are_of_about_the_same_size() -> None:
    model, settings = language_model(), GREEDY.model_copy(update={"batch_size": 4})
    shapes = steps_of(model.trunk)
    generate(model, [[1, 2]] * 9, settings, VOCABULARY, range(9))
    beginnings = [step for step, shape in enumerate(shapes) if shape[0] == 1]
    assert [shapes[step + 1][0] for step in beginnings] == [3, 3, 3]


def test_no_prompts_have_no_responses() -> None:
    assert generate(language_model(), [], GREEDY, VOCABULARY, []) == []


@pytest.mark.parametrize(
    ("keep", "expected"),
    [([True, True], [0, 1]), ([False] * 2, []), ([False, True, False, True, True], [4, 1, 3]), ([True, False], [0])],
)
def test_a_row_that_leaves_moves_few_others(keep: list[bool], expected: list[int]) -> None:
    kept = decoding._closed_up(keep)
    assert sorted(kept) == [place for place, kept in enumerate(keep) if kept]
    assert sum(place != row for place, row in enumerate(kept)) == sum(
        place != row for place, row in enumerate(expected)
    )


class Conversions(TorchDispatchMode):
    """Counts the copies of `tensor` in another precision."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor, self.count = tensor, 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += operator is torch.ops.aten._to_copy.default and args[0].data_ptr() == self.tensor.data_ptr()
        return operator(*args, **(kwargs or {}))


def test_bfloat16_reaches_the_cache_and_spares_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, caches, logits = language_model(), [], []
    weight = model.get_parameter("trunk.blocks.0.feedforward.up.weight")
    with BF16.autocast():
        expected = [generate_uncached(model, prompt, GREEDY, item) for prompt, item in zip(ALIKE, IDS, strict=True)]
    model.trunk.register_forward_pre_hook(lambda _, inputs: caches.append(inputs[1]))
    float32_logits = decoding.float32_logits

    def recorded(*arguments: Any) -> Tensor:
        logits.append(float32_logits(*arguments))
        return logits[-1]

    monkeypatch.setattr(decoding, "float32_logits", recorded)
    with Conversions(weight) as conversions, BF16.autocast():
        assert generate(model, ALIKE, GREEDY, VOCABULARY, IDS) == expected
    assert conversions.count == 1  # not once a step
    assert {cache.layers[0].keys.dtype for cache in caches} == {torch.bfloat16}
    assert any((row.bfloat16() != row).any() for row in logits)


def test_all_ways_to_finish_occur_in_these_prompts() -> None:
    """So that the test above is about them."""
    responses = generate(language_model(), PROMPTS, SAMPLED, VOCABULARY, IDS)
    lengths = {len(response.input_ids) for response in responses if response.finish_reason == "length"}
    assert 12 in lengths
    assert lengths - {12}  # the context was full
    assert "stop" in {response.finish_reason for response in responses}


def test_order_and_neighbours_do_not_change_a_sampled_response() -> None:
    model = language_model()
    whole = generate(model, PROMPTS, SAMPLED, VOCABULARY, IDS)
    assert generate(model, PROMPTS[::-1], SAMPLED, VOCABULARY, IDS[::-1]) == whole[::-1]
    assert generate(model, PROMPTS[3:5], SAMPLED, VOCABULARY, IDS[3:5]) == whole[3:5]
    other_seed = SAMPLED.model_copy(update={"seed": 8})
    assert generate(model, PROMPTS, other_seed, VOCABULARY, IDS) != whole


def test_equal_prompts_of_different_ids_are_sampled_independently() -> None:
    responses = generate(language_model(), [PROMPTS[0]] * 4, SAMPLED, VOCABULARY, [1, 2, 3, 3])
    assert responses[0] != responses[1]
    assert responses[2] == responses[3]


def test_padding_of_the_vocabulary_is_never_chosen() -> None:
    model = language_model(ARCHITECTURE.model_copy(update={"tie_embeddings": False}))
    assert model.head is not None
    model.trunk.final_norm.bias.data.fill_(1)
    model.head.weight.data[END_OF_TEXT + 1 :] = 100
    responses = generate(model, PROMPTS, SAMPLED, VOCABULARY, IDS)
    assert max(token for response in responses for token in response.input_ids) < END_OF_TEXT


@pytest.mark.parametrize("length", [0, 24, 30])
def test_a_prompt_without_room_for_a_response_is_named(length: int) -> None:
    with pytest.raises(UserError, match=rf"item 17: its prompt has {length} tokens.* 1 to 23"):
        generate(language_model(), prompts([3, length]), GREEDY, VOCABULARY, [16, 17])


@BOTH_PROMPTS
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_likelihood_is_the_sum_over_response_and_end_of_text(
    several: list[list[int]], batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "POSITIONS_AT_ONCE", 11)
    model, responses = language_model(), prompts([5, 0, 7, 2, 1, 6, 4, 3, 20, 9])
    responses = [response[: 24 - len(prompt)] for prompt, response in zip(several, responses, strict=True)]
    actual = response_likelihood(model, several, responses, END_OF_TEXT, batch_size, IDS)
    for (total, n_tokens), prompt, response in zip(actual, several, responses, strict=True):
        expected = 0.0
        tokens = list(prompt)
        for target in [*response, END_OF_TEXT]:
            with torch.no_grad():
                log_probabilities = functional.log_softmax(model(torch.tensor([tokens]))[0, -1], dim=-1)
            expected -= log_probabilities[target].item()
            tokens.append(target)
        assert total == pytest.approx(expected, rel=1e-5)
        assert n_tokens == len(response) + 1


def test_a_shared_beginning_is_scored_once() -> None:
    model, responses = language_model(), prompts([3] * 9)
    shapes = steps_of(model.trunk.blocks[0])
    response_likelihood(model, ALIKE[1:], responses, END_OF_TEXT, 9, IDS[1:])
    assert shapes == [(1, len(BEGINNING) + 9 * (max(map(len, ALIKE)) + 3 - len(BEGINNING)))]


@pytest.mark.parametrize(("n_prompt", "n_response"), [(0, 3), (20, 5)])
def test_an_item_that_does_not_fit_has_no_likelihood(n_prompt: int, n_response: int) -> None:
    prompt, response = prompts([n_prompt, n_response])
    with pytest.raises(UserError, match=f"item 5: its prompt has {n_prompt} tokens and its response {n_response}"):
        response_likelihood(language_model(), [prompt], [response], END_OF_TEXT, 4, [5])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(bpe.train(["the cat sat on the mat, the rat ran after the cat"] * 2, 270), folder)
    return load_tokenizer(folder, "cats")


ROWS = pa.table(
    {
        "id": pa.array([4, 2], pa.int64()),
        "instruction": ["Where did the cat sit?", "Translate."],
        "input": ["", "the cat, “été”"],
        "output": ["on the mat", ""],
        "category": ["", "translation"],
    }
)


def tokens_of(rows: pa.Table, tokenizer: Tokenizer) -> Tokens:
    prompts = [tokenizer.encode(f"{row['instruction']}\n{row['input']}\n") for row in rows.to_pylist()]
    texts = [prompt + tokenizer.encode(row["output"]) for prompt, row in zip(prompts, rows.to_pylist(), strict=True)]
    return Tokens(
        path=Path("test.parquet"),
        tokenizer=tokenizer.name,
        tokenizer_hash=tokenizer.content_hash,
        label_names=None,
        ids=rows["id"].to_numpy(),
        values=np.concatenate(texts).astype(np.int32),
        offsets=np.cumsum([0, *map(len, texts)]),
        labels=None,
        prompt_lengths=np.array([len(prompt) for prompt in prompts], np.int32),
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_responses_are_written_a_line_an_item(
    tmp_path: Path, tokenizer: Tokenizer, precision: Literal["fp32", "bf16"]
) -> None:
    compute = Compute(torch.device("cpu"), precision)
    model = language_model(ARCHITECTURE.model_copy(update={"vocab_size": tokenizer.vocab_size, "context_length": 64}))
    tokens, path = tokens_of(ROWS, tokenizer), tmp_path / "responses.jsonl"
    set_dropout(model, 0.5)  # must not be active
    write_responses(model.train(), tokenizer, ROWS, tokens, SAMPLED, compute, path)

    assert tokens.prompt_lengths is not None
    prompts = [tokens[row][:length].tolist() for row, length in enumerate(tokens.prompt_lengths)]
    references = [tokenizer.encode("on the mat"), []]
    with compute.autocast():
        responses = generate(model.eval(), prompts, SAMPLED, tokenizer.vocabulary, [4, 2])
        likelihoods = response_likelihood(model, prompts, references, tokenizer.end_of_text, 2, [4, 2])
    lines = path.read_text(encoding="utf-8").splitlines()
    for line, row, response, (nll, target_tokens) in zip(lines, ROWS.to_pylist(), responses, likelihoods, strict=True):
        assert json.loads(line) == {
            "id": row["id"],
            "instruction": row["instruction"],
            "input": row["input"],
            "category": row["category"],
            "reference": row["output"],
            "response": tokenizer.decode(response.input_ids),
            "finish_reason": response.finish_reason,
            "negative_log_likelihood": pytest.approx(nll),
            "target_tokens": target_tokens,
        }


def test_tokens_of_other_rows_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = language_model(ARCHITECTURE.model_copy(update={"vocab_size": tokenizer.vocab_size, "context_length": 64}))
    path = tmp_path / "responses.jsonl"
    with pytest.raises(UserError, match="not the rows of the prepared dataset's test split"):
        write_responses(model, tokenizer, ROWS, tokens_of(ROWS[::-1], tokenizer), SAMPLED, FP32, path)
    assert not path.exists()
