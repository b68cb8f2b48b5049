import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from gptsmith.config.architecture import Architecture
from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation.generate import Generated, generate
from gptsmith.generation.likelihood import response_likelihood
from gptsmith.generation.responses import write_responses
from gptsmith.generation.sampling import choose
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import LanguageModel
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer import bpe
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import Tokens

END_OF_TEXT = 40
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


def generate_uncached(model: LanguageModel, prompt: list[int], settings: Generation, item: int) -> Generated:
    """The definition: one prompt, the whole model again for every token."""
    random = [np.random.default_rng((settings.seed, item))]
    tokens = list(prompt)
    while len(tokens) < model.architecture.context_length and len(tokens) < len(prompt) + settings.max_new_tokens:
        with torch.no_grad():
            logits = model(torch.tensor([tokens]))[:, -1, : END_OF_TEXT + 1]
        token = int(choose(logits, settings, random))
        if token == END_OF_TEXT:
            return Generated(tokens[len(prompt) :], "stop")
        tokens.append(token)
    return Generated(tokens[len(prompt) :], "length")


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_cached_batches_answer_like_single_uncached_prompts(settings: Generation, batch_size: int) -> None:
    model = language_model()
    settings = settings.model_copy(update={"batch_size": batch_size})
    expected = [generate_uncached(model, prompt, settings, item) for prompt, item in zip(PROMPTS, IDS, strict=True)]
    assert generate(model, PROMPTS, settings, END_OF_TEXT, IDS) == expected


def test_all_ways_to_finish_occur_in_these_prompts() -> None:
    """So that the test above is about them."""
    responses = generate(language_model(), PROMPTS, SAMPLED, END_OF_TEXT, IDS)
    lengths = {len(response.input_ids) for response in responses if response.finish_reason == "length"}
    assert 12 in lengths
    assert lengths - {12}  # the context was full
    assert "stop" in {response.finish_reason for response in responses}


def test_order_and_neighbours_do_not_change_a_sampled_response() -> None:
    model = language_model()
    whole = generate(model, PROMPTS, SAMPLED, END_OF_TEXT, IDS)
    assert generate(model, PROMPTS[::-1], SAMPLED, END_OF_TEXT, IDS[::-1]) == whole[::-1]
    assert generate(model, PROMPTS[3:5], SAMPLED, END_OF_TEXT, IDS[3:5]) == whole[3:5]
    other_seed = SAMPLED.model_copy(update={"seed": 8})
    assert generate(model, PROMPTS, other_seed, END_OF_TEXT, IDS) != whole


def test_equal_prompts_of_different_ids_are_sampled_independently() -> None:
    responses = generate(language_model(), [PROMPTS[0]] * 4, SAMPLED, END_OF_TEXT, [1, 2, 3, 3])
    assert responses[0] != responses[1]
    assert responses[2] == responses[3]


def test_padding_of_the_vocabulary_is_never_chosen() -> None:
    model = language_model(ARCHITECTURE.model_copy(update={"tie_embeddings": False}))
    assert model.head is not None
    model.trunk.final_norm.bias.data.fill_(1)
    model.head.weight.data[END_OF_TEXT + 1 :] = 100
    responses = generate(model, PROMPTS, SAMPLED, END_OF_TEXT, IDS)
    assert max(token for response in responses for token in response.input_ids) < END_OF_TEXT


@pytest.mark.parametrize("length", [0, 24, 30])
def test_a_prompt_without_room_for_a_response_is_named(length: int) -> None:
    with pytest.raises(UserError, match=rf"item 17: its prompt has {length} tokens.* 1 to 23"):
        generate(language_model(), prompts([3, length]), GREEDY, END_OF_TEXT, [16, 17])


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_likelihood_is_the_sum_over_response_and_end_of_text(batch_size: int) -> None:
    model, responses = language_model(), prompts([5, 0, 7, 2, 1, 6, 4, 3, 20, 9])
    actual = response_likelihood(model, PROMPTS, responses, END_OF_TEXT, batch_size, IDS)
    for (total, n_tokens), prompt, response in zip(actual, PROMPTS, responses, strict=True):
        expected = 0.0
        tokens = list(prompt)
        for target in [*response, END_OF_TEXT]:
            with torch.no_grad():
                log_probabilities = functional.log_softmax(model(torch.tensor([tokens]))[0, -1], dim=-1)
            expected -= log_probabilities[target].item()
            tokens.append(target)
        assert total == pytest.approx(expected, rel=1e-5)
        assert n_tokens == len(response) + 1


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


def test_responses_are_written_a_line_an_item(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = language_model(ARCHITECTURE.model_copy(update={"vocab_size": tokenizer.vocab_size, "context_length": 64}))
    tokens, path = tokens_of(ROWS, tokenizer), tmp_path / "responses.jsonl"
    set_dropout(model, 0.5)  # must not be active
    write_responses(model.train(), tokenizer, ROWS, tokens, SAMPLED, path)

    assert tokens.prompt_lengths is not None
    prompts = [tokens[row][:length].tolist() for row, length in enumerate(tokens.prompt_lengths)]
    references = [tokenizer.encode("on the mat"), []]
    responses = generate(model.eval(), prompts, SAMPLED, tokenizer.end_of_text, [4, 2])
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
        write_responses(model, tokenizer, ROWS, tokens_of(ROWS[::-1], tokenizer), SAMPLED, path)
    assert not path.exists()
