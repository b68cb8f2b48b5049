"""Our GPT against transformers' GPT-2: the same weights give the same logits and the same gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from gptsmith.checkpoint.files import convert_weights, load_classifier, load_language_model
from gptsmith.checkpoint.names import trunk_weights
from gptsmith.config.architecture import GPT2_SIZES, Architecture

END_OF_TEXT = 2

SHAPES = [
    {"vocab_size": 50, "n_positions": 12, "n_embd": 8, "n_layer": 1, "n_head": 1},
    {"vocab_size": 97, "n_positions": 40, "n_embd": 30, "n_layer": 3, "n_head": 5},
    {"vocab_size": 33, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 100},
    {"vocab_size": 71, "n_positions": 20, "n_embd": 16, "n_layer": 2, "n_head": 2, "tie_word_embeddings": False},
    {"vocab_size": 71, "n_positions": 20, "n_embd": 16, "n_layer": 2, "n_head": 2, "activation_function": "relu"},
    {"vocab_size": 71, "n_positions": 20, "n_embd": 16, "n_layer": 2, "n_head": 2, "activation_function": "gelu"},
    {"vocab_size": 71, "n_positions": 20, "n_embd": 16, "n_layer": 2, "n_head": 2, "layer_norm_epsilon": 0.1},
]


def config(shape: dict[str, Any]) -> GPT2Config:
    return GPT2Config(**shape, bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT, pad_token_id=END_OF_TEXT)


def randomized(model: Any, seed: int = 0) -> Any:
    """With all parameters random, so that biases and layer norms count too; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return model.eval()


def save_as_published(theirs: Any, path: Path) -> None:
    """As openai-community/gpt2 is published: no prefix, no head, and the causal masks among the weights."""
    state = {
        name.removeprefix("transformer."): tensor
        for name, tensor in theirs.state_dict().items()
        if not name.startswith("lm_head.")
    }
    n_positions = theirs.config.n_positions
    for layer in range(theirs.config.n_layer):
        state[f"h.{layer}.attn.bias"] = torch.ones(n_positions, n_positions).tril()[None, None]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def tokens(vocab_size: int, *shape: int) -> torch.Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(1))


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_from_a_folder_that_transformers_wrote(shape: dict[str, Any], tmp_path: Path) -> None:
    theirs = randomized(GPT2LMHeadModel(config(shape)))
    theirs.save_pretrained(tmp_path)
    ours = load_language_model(tmp_path)
    with torch.no_grad():
        for length in (1, 7, shape["n_positions"]):
            input_ids = tokens(shape["vocab_size"], 2, length)
            assert relative_difference(ours(input_ids), theirs(input_ids).logits) < 1e-5


@pytest.mark.parametrize("attention", ["fused", "explicit"])
def test_logits_from_a_file_as_published(attention: Any, tmp_path: Path) -> None:
    theirs = randomized(GPT2LMHeadModel(config(SHAPES[1])))
    save_as_published(theirs, tmp_path / "downloaded")
    architecture = Architecture(
        vocab_size=97, context_length=40, d_model=30, n_layers=3, n_heads=5, attention=attention
    )
    convert_weights(tmp_path / "downloaded", architecture, tmp_path / "checkpoint", END_OF_TEXT + 1, END_OF_TEXT)
    ours = load_language_model(tmp_path / "checkpoint")
    assert ours.architecture == architecture
    input_ids = tokens(97, 3, 40)
    with torch.no_grad():
        assert relative_difference(ours(input_ids), theirs(input_ids).logits) < 1e-5


def test_classifier_from_a_folder_that_transformers_wrote(tmp_path: Path) -> None:
    labels = {0: "ham", 1: "spam", 2: "other"}
    theirs = randomized(GPT2ForSequenceClassification(GPT2Config(**config(SHAPES[1]).to_dict() | {"id2label": labels})))
    theirs.save_pretrained(tmp_path)
    ours, names = load_classifier(tmp_path)
    assert names == ["ham", "spam", "other"]
    input_ids, lengths = tokens(97, 4, 20).clamp(min=END_OF_TEXT + 1), torch.tensor([20, 1, 7, 12])
    input_ids[torch.arange(20) >= lengths[:, None]] = END_OF_TEXT
    with torch.no_grad():
        assert relative_difference(ours(input_ids, lengths), theirs(input_ids).logits) < 1e-5


def test_gradients(tmp_path: Path) -> None:
    theirs = randomized(GPT2LMHeadModel(config(SHAPES[1])))
    theirs.save_pretrained(tmp_path)
    ours = load_language_model(tmp_path)
    input_ids = tokens(97, 2, 15)
    theirs(input_ids, labels=input_ids).loss.backward()
    logits = ours.logits(ours.trunk(input_ids)[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten()).backward()

    expected = {name: parameter.grad for name, parameter in theirs.transformer.named_parameters()}
    actual = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for weight in trunk_weights(ours.architecture):
        ((place, _),) = weight.parts
        gradient = actual.pop(weight.name)
        assert gradient is not None
        gradient = gradient.T if weight.transposed else gradient
        assert relative_difference(gradient, expected.pop(place.removeprefix("transformer."))) < 1e-4, weight.name
    assert not actual
    assert not expected


@pytest.mark.slow
def test_all_124_million_parameters_from_both_layouts(tmp_path: Path) -> None:
    theirs = GPT2LMHeadModel(GPT2Config()).eval()
    input_ids = tokens(50257, 1, 32)
    with torch.no_grad():
        expected = theirs(input_ids).logits
        assert sum(parameter.numel() for parameter in theirs.parameters()) == 124_439_808

        theirs.save_pretrained(tmp_path / "theirs")
        assert relative_difference(load_language_model(tmp_path / "theirs")(input_ids), expected) < 1e-4

        save_as_published(theirs, tmp_path / "downloaded")
        # Weights, twelve masks of 1024 x 1024, and a header.
        size = (tmp_path / "downloaded").stat().st_size
        assert 0 < size - 4 * (124_439_808 + 12 * 1024 * 1024) < 20_000
        convert_weights(tmp_path / "downloaded", GPT2_SIZES["gpt2-small"], tmp_path / "ours", 50257, 50256)
        assert relative_difference(load_language_model(tmp_path / "ours")(input_ids), expected) < 1e-4
