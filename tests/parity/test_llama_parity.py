"""Our GPT with the parts of a Llama against transformers' Llama: the same weights give the same logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from gptsmith.checkpoint.files import (
    load_classifier,
    load_language_model,
    save_classifier,
    save_language_model,
)
from gptsmith.checkpoint.verification import verify_checkpoint
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json
from gptsmith.model.initialization import new_classifier, new_language_model

END_OF_TEXT = 2
COMMON = {"vocab_size": 71, "hidden_size": 24, "intermediate_size": 40, "max_position_embeddings": 64}
SHAPES = [
    {"num_hidden_layers": 2, "num_attention_heads": 4},
    {"num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "rope_theta": 5000.0},
    {"num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": True},
    {"num_hidden_layers": 2, "num_attention_heads": 2, "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 0.1},
]


def config(shape: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(**COMMON, **shape, bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT, pad_token_id=END_OF_TEXT)


def randomized(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return model.eval()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(END_OF_TEXT + 1, COMMON["vocab_size"], shape, generator=torch.Generator().manual_seed(1))


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_logits_from_a_folder_that_transformers_wrote(shape: dict[str, Any], tmp_path: Path) -> None:
    theirs = randomized(LlamaForCausalLM(config(shape)))
    theirs.save_pretrained(tmp_path)
    ours = load_language_model(tmp_path)
    for length in (1, 7, 64):
        input_ids = tokens(2, length)
        assert relative_difference(ours(input_ids), theirs(input_ids).logits) < 1e-5


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@torch.no_grad()
def test_transformers_loads_what_we_write(n_kv_heads: int, tmp_path: Path) -> None:
    architecture = Architecture(
        vocab_size=71,
        context_length=64,
        d_model=24,
        n_layers=2,
        n_heads=4,
        n_kv_heads=n_kv_heads,
        norm="rms_norm",
        position="rotary",
        rope_theta=7000.0,
        activation="swiglu",
        bias=False,
    )
    generator = torch.Generator().manual_seed(0)
    language_model = randomized(new_language_model(architecture, generator))
    classifier = randomized(new_classifier(architecture, 3, generator))
    save_language_model(language_model, tmp_path / "language", END_OF_TEXT)
    save_classifier(classifier, tmp_path / "classifier", ["a", "b", "c"], END_OF_TEXT)

    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "language")
    assert isinstance(theirs, LlamaForCausalLM)
    input_ids = tokens(3, 33)
    assert relative_difference(language_model(input_ids), theirs(input_ids).logits) < 1e-5

    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    assert isinstance(theirs, LlamaForSequenceClassification)
    lengths = torch.tensor([33, 1, 12])
    input_ids[torch.arange(33) >= lengths[:, None]] = END_OF_TEXT
    assert relative_difference(classifier(input_ids, lengths), theirs(input_ids).logits) < 1e-5
    assert load_classifier(tmp_path / "classifier")[1] == ["a", "b", "c"]

    verify_checkpoint(tmp_path / "language", None, tmp_path / "verification.json")
    assert read_json(tmp_path / "verification.json")["transformers"]


def test_verification_notices_other_weights(tmp_path: Path) -> None:
    theirs = randomized(LlamaForCausalLM(config(SHAPES[1])))
    theirs.save_pretrained(tmp_path / "theirs")
    save_language_model(load_language_model(tmp_path / "theirs"), tmp_path / "ours", END_OF_TEXT)
    verify_checkpoint(tmp_path / "ours", tmp_path / "theirs" / "model.safetensors", tmp_path / "verification.json")
    with torch.no_grad():
        theirs.model.layers[1].self_attn.k_proj.weight.mul_(1.5)
    theirs.save_pretrained(tmp_path / "others")
    with pytest.raises(UserError, match="the logits differ"):
        verify_checkpoint(tmp_path / "ours", tmp_path / "others" / "model.safetensors", tmp_path / "verification.json")


def test_a_model_that_transformers_does_not_have_is_compared_with_its_explicit_attention(tmp_path: Path) -> None:
    architecture = Architecture(vocab_size=71, context_length=64, d_model=24, n_layers=2, n_heads=4, position="rotary")
    model = randomized(new_language_model(architecture, torch.Generator().manual_seed(0)))
    save_language_model(model, tmp_path / "checkpoint", END_OF_TEXT)
    verify_checkpoint(tmp_path / "checkpoint", None, tmp_path / "verification.json")
    assert read_json(tmp_path / "verification.json")["transformers"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}},
            "rope_parameters is .*only the type",
        ),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling is .*only None"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu; only silu"),
        ({"attention_bias": True}, "attention_bias and mlp_bias differ"),
        ({"head_dim": 32}, "head_dim is 32"),
        ({"num_key_value_heads": 5}, "must be a multiple of n_kv_heads"),
        ({"model_type": "mistral"}, "model_type is 'mistral'; only 'gpt2' and 'llama' can be loaded"),
    ],
)
def test_settings_that_are_not_ours_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    LlamaForCausalLM(config(SHAPES[0])).save_pretrained(tmp_path)
    write_json(tmp_path / "config.json", read_json(tmp_path / "config.json") | changes)
    with pytest.raises(UserError, match=message):
        load_language_model(tmp_path)
