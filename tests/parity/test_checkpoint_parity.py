"""Checkpoints: what we write transformers reads, and what is wrong with a file is said before it is used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from gptsmith.checkpoint.adapter import save_adapter
from gptsmith.checkpoint.files import (
    classifier_from_language_model,
    convert_weights,
    import_checkpoint,
    load_classifier,
    load_language_model,
    read_architecture,
    save_classifier,
    save_language_model,
)
from gptsmith.checkpoint.verification import verify_checkpoint
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.model.lora import adapter_state_dict, add_lora, merge_lora

TINY = Architecture(vocab_size=61, context_length=70, d_model=24, n_layers=2, n_heads=4)
UNTIED = TINY.model_copy(update={"tie_embeddings": False, "activation": "relu", "d_feedforward": 50})
END_OF_TEXT = 60
INPUT_IDS = torch.randint(END_OF_TEXT, (3, 9), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    save_language_model(new_language_model(TINY, torch.Generator().manual_seed(1)), folder, END_OF_TEXT)
    return folder


@pytest.mark.parametrize("architecture", [TINY, UNTIED])
def test_a_saved_language_model_loads_here_and_in_transformers(architecture: Architecture, tmp_path: Path) -> None:
    model = new_language_model(architecture, torch.Generator().manual_seed(1)).eval()
    save_language_model(model, tmp_path, END_OF_TEXT)
    again = load_language_model(tmp_path)
    assert again.architecture == architecture
    assert not again.training
    state = model.state_dict()
    assert state.keys() == again.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    theirs, report = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert theirs.config.eos_token_id == END_OF_TEXT
    with torch.no_grad():
        torch.testing.assert_close(again(INPUT_IDS), theirs(INPUT_IDS).logits, rtol=1e-4, atol=1e-6)


def test_a_saved_classifier_loads_here_and_in_transformers(tmp_path: Path) -> None:
    model = new_classifier(TINY, 3, torch.Generator().manual_seed(1)).eval()
    save_classifier(model, tmp_path, ["ham", "spam", "été"], END_OF_TEXT)
    again, labels = load_classifier(tmp_path)
    assert labels == ["ham", "spam", "été"]
    theirs, report = GPT2ForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert theirs.config.id2label == {0: "ham", 1: "spam", 2: "été"}
    lengths = torch.tensor([9, 1, 4])
    padded = INPUT_IDS.masked_fill(torch.arange(9) >= lengths[:, None], END_OF_TEXT)
    with torch.no_grad():
        torch.testing.assert_close(again(padded, lengths), model(padded, lengths), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(again(padded, lengths), theirs(padded).logits, rtol=1e-4, atol=1e-6)


def test_a_classifier_starts_from_a_language_model(tmp_path: Path) -> None:
    model = new_language_model(UNTIED, torch.Generator().manual_seed(1)).eval()
    save_language_model(model, tmp_path, END_OF_TEXT)
    first, again = (classifier_from_language_model(tmp_path, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    with torch.no_grad():
        assert torch.equal(first.trunk(INPUT_IDS), model.trunk(INPUT_IDS))
    assert first.score.weight.shape == (4, 24)
    assert torch.equal(first.score.weight, again.score.weight)
    assert all(parameter.requires_grad for parameter in first.parameters())


def test_an_adapter_is_saved_beside_and_only_a_merged_model_as_a_checkpoint(tmp_path: Path) -> None:
    model = new_language_model(TINY, torch.Generator().manual_seed(1))
    add_lora(model, rank=2, alpha=6, generator=torch.Generator().manual_seed(2))
    with pytest.raises(ValueError, match="not the weights of a plain model"):
        save_language_model(model, tmp_path, END_OF_TEXT)
    save_adapter(model, tmp_path / "adapter.safetensors")
    adapter = load_file(tmp_path / "adapter.safetensors")
    assert adapter.keys() == adapter_state_dict(model).keys()
    merge_lora(model)
    save_language_model(model, tmp_path, END_OF_TEXT)
    load_language_model(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=61, n_positions=70, n_embd=24, n_layer=2, n_head=4, eos_token_id=60, bos_token_id=60)
    theirs = GPT2LMHeadModel(config).to(dtype)
    theirs.save_pretrained(tmp_path)
    ours = load_language_model(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    expected = theirs.transformer.h[1].mlp.c_fc.weight.T.float()
    assert torch.equal(ours.state_dict()["trunk.blocks.1.feedforward.up.weight"], expected)


def test_a_folder_of_transformers_is_imported_and_a_checkpoint_of_ours(checkpoint: Path, tmp_path: Path) -> None:
    GPT2LMHeadModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "theirs")
    for source in (tmp_path / "theirs", checkpoint):
        import_checkpoint(source, tmp_path / "imported", END_OF_TEXT + 1, END_OF_TEXT)
        assert read_architecture(tmp_path / "imported") == TINY
        state = load_file(tmp_path / "imported" / "model.safetensors")
        expected = load_file(checkpoint / "model.safetensors")
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state)


def test_a_tokenizer_larger_than_the_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model has 61 tokens, its tokenizer 62: they do not"):
        import_checkpoint(checkpoint, tmp_path / "imported", 62, END_OF_TEXT)
    assert not (tmp_path / "imported").exists()


def test_verification_measures_the_difference(checkpoint: Path, tmp_path: Path) -> None:
    published = {
        name.removeprefix("transformer."): tensor
        for name, tensor in load_file(checkpoint / "model.safetensors").items()
    }
    masks = {f"h.{n}.attn.bias": torch.ones(1, 1, 70, 70).tril() for n in range(2)}
    save_file(published | masks, tmp_path / "published.safetensors")
    for original in (None, checkpoint / "model.safetensors", tmp_path / "published.safetensors"):
        verify_checkpoint(checkpoint, original, tmp_path / "report.json")
        report = json.loads((tmp_path / "report.json").read_text())
        assert 0 <= report["relative"] < 1e-5
        assert report["positions"] == 2 * (1 + 2 + 7 + 16 + 33 + 64)
        assert report["largest_logit"] > 0


@pytest.mark.parametrize("damage", [1.0, float("nan")])
def test_verification_fails_on_other_weights(damage: float, checkpoint: Path, tmp_path: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    state["transformer.h.1.attn.c_proj.weight"][0, 0] += damage
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="the logits differ from those of transformers"):
        verify_checkpoint(checkpoint, tmp_path / "other.safetensors", tmp_path / "report.json")
    assert not (tmp_path / "report.json").exists()


State = dict[str, torch.Tensor]
C_ATTN = "transformer.h.0.attn.c_attn.weight"


def without(state: State, name: str) -> State:
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "transformer.ln_f.bias"), "transformer.ln_f.bias is missing"),
        (lambda state: state | {"extra": torch.ones(1)}, "extra is not part of the model"),
        (
            lambda state: state | {C_ATTN: state[C_ATTN].T.contiguous()},
            rf"{C_ATTN}: expected shape \[24, 72\], found \[72, 24\]",
        ),
        (lambda state: state | {C_ATTN: state[C_ATTN].double()}, f"{C_ATTN}: expected one of the types .* found F64"),
        (
            lambda _: {f"h.0.{index}": torch.ones(1) for index in range(40)},
            "wte.weight is missing; wpe.weight is missing; h.0.ln_1.weight is missing; and 65 more",
        ),
        (
            lambda state: without(state, "transformer.h.1.ln_1.weight") | {"transformer.h.1.attn.bias": torch.ones(1)},
            "transformer.h.1.ln_1.weight is missing",
        ),
        (
            lambda state: state | {"lm_head.weight": torch.zeros(61, 24)},
            "lm_head.weight differs from the token embedding",
        ),
    ],
    ids=["missing", "extra", "shape", "type", "many", "missing-beside-mask", "tied-head"],
)
def test_wrong_weights_are_named(change: Callable[[State], State], message: str, checkpoint: Path) -> None:
    save_file(change(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")
    with pytest.raises(UserError, match=message):
        load_language_model(checkpoint)


def test_masks_and_the_copy_of_a_tied_head_may_be_in_the_file(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    state["lm_head.weight"] = state["transformer.wte.weight"].clone()
    state |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 70, 70), "transformer.h.0.attn.masked_bias": torch.ones(())}
    save_file(state, checkpoint / "model.safetensors")
    load_language_model(checkpoint)


def edit_config(folder: Path, **changes: Any) -> None:
    """As transformers would have written it: without our block, unless `changes` has one."""
    config = json.loads((folder / "config.json").read_text())
    del config["architecture"]
    config = {key: value for key, value in (config | changes).items() if value != "delete"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'; only 'gpt2' and 'llama'"),
        ({"model_type": "delete"}, "model_type is None"),
        ({"n_layer": "delete"}, "n_layer is missing"),
        ({"n_head": 5}, "must be a multiple of n_heads"),
        ({"n_embd": "wide"}, "d_model: .*valid integer"),
        ({"n_layer": 10**12}, "transformer.h.2.ln_1.weight is missing"),
        ({"n_embd": 10**30, "n_head": 1}, "expected shape"),
        ({"activation_function": "swish"}, "activation_function is 'swish'"),
        ({"activation_function": ["gelu"]}, "activation_function is"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True; only False"),
        ({"architecture": {"d_model": 24, "depth": 3}}, "depth: Extra inputs are not permitted"),
        ({"architecture": 3}, "architecture: "),
    ],
)
def test_wrong_configurations_are_named(changes: dict[str, Any], message: str, checkpoint: Path) -> None:
    edit_config(checkpoint, **changes)
    with pytest.raises(UserError, match=message):
        load_language_model(checkpoint)


@pytest.mark.parametrize("content", [b"", b"no tensors here, but long enough to be a header", b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_refused(content: bytes, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors: not a whole safetensors file"):
        load_language_model(checkpoint)


def test_a_truncated_file_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_language_model(checkpoint)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "pytorch_model.bin is a pickle, and reading a pickle can run any code"),
        ("model.pt", "is a pickle"),
        ("model.safetensors.index.json", "sharded"),
        ("other.txt", "model.safetensors: no such file"),
    ],
)
def test_other_forms_of_weights_are_refused(name: str, message: str, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / name).write_bytes(b"never opened")
    with pytest.raises(UserError, match=message):
        load_language_model(checkpoint)


def test_missing_folders_and_files_are_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*no such file"):
        load_language_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nothing: no such file"):
        convert_weights(tmp_path / "nothing", TINY, tmp_path / "folder", END_OF_TEXT + 1, END_OF_TEXT)
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json, line 1"):
        load_language_model(checkpoint)


def test_kinds_of_checkpoint_are_not_confused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a classifier"):
        load_classifier(checkpoint)
    save_classifier(new_classifier(TINY, 2, torch.Generator()), tmp_path / "classifier", ["a", "b"], END_OF_TEXT)
    with pytest.raises(UserError, match=r"score.weight is not part of the model"):
        load_language_model(tmp_path / "classifier")


def test_a_checkpoint_that_could_not_be_written_is_none(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gptsmith.checkpoint.weights.save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        save_language_model(new_language_model(TINY, torch.Generator()), checkpoint, END_OF_TEXT)
    assert [path.name for path in checkpoint.iterdir()] == ["model.safetensors"]
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        load_language_model(checkpoint)
