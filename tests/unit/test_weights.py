"""A loaded model's weights are the mapped file: without a copy, and without what is done to them reaching it."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from gptsmith.checkpoint.files import load_language_model, save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.training import Training
from gptsmith.model.heads import LanguageModel
from gptsmith.model.initialization import new_language_model
from gptsmith.model.lora import add_lora, merge_lora
from gptsmith.training.optimizer import make_optimizer

TINY = Architecture(vocab_size=61, context_length=20, d_model=24, n_layers=2, n_heads=4)
INPUT_IDS = torch.randint(61, (3, 9), generator=torch.Generator().manual_seed(2))


def read_header(file: Path) -> tuple[dict[str, dict[str, list[int]]], bytes]:
    """Of a safetensors file: the header, and everything after it."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), content[start:]


@pytest.fixture(params=["transformers", "published"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    save_language_model(new_language_model(TINY, torch.Generator().manual_seed(1)), folder, 60)
    if request.param == "published":
        publish(folder / "model.safetensors")
    return folder


def publish(file: Path) -> None:
    """Give the weights the published layout: no prefix, masks between them, and nothing aligned to 4 bytes."""
    state = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    save_file(state | {f"h.{n}.attn.bias": torch.ones(1, 1, 20, 20).tril() for n in range(2)}, file)
    header, tensors = read_header(file)
    text = json.dumps(header).encode()
    text += b" " * (3 - len(text) % 4)
    file.write_bytes(len(text).to_bytes(8, "little") + text + tensors)


def in_own_memory(model: LanguageModel) -> LanguageModel:
    """The same model, every tensor a contiguous copy."""
    again = new_language_model(TINY, torch.Generator()).eval()
    again.load_state_dict(model.state_dict())
    return again


def train_a_step(model: LanguageModel) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, Training(learning_rate=1e-2))
    for _ in range(2):
        functional.cross_entropy(model(INPUT_IDS).flatten(0, 1), INPUT_IDS.flatten()).backward()
        nn.utils.clip_grad_norm_(parameters, 0.1)
        optimizer.step()
        optimizer.zero_grad()


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-7, msg=name)


def test_every_weight_lies_where_the_file_is_mapped(checkpoint: Path) -> None:
    model, (header, _) = load_language_model(checkpoint), read_header(checkpoint / "model.safetensors")
    offsets = {entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    first = min(addresses)
    assert any({offset + address - first for address in addresses} <= offsets for offset in offsets)


def test_nothing_is_drawn_for_a_model_that_is_loaded(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal numbers would cost the import of torch._dynamo as well."""
    monkeypatch.setattr(torch.Tensor, "normal_", None)
    load_language_model(checkpoint)


def test_training_in_place_leaves_the_file_as_it_is(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    content, model, other = file.read_bytes(), load_language_model(checkpoint), load_language_model(checkpoint)
    before = copy.deepcopy(other.state_dict())
    train_a_step(model)
    assert not any(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert file.read_bytes() == content
    for unchanged in (other, load_language_model(checkpoint)):
        assert all(torch.equal(tensor, before[name]) for name, tensor in unchanged.state_dict().items())


@pytest.mark.parametrize("lora", [False, True])
def test_mapped_weights_train_as_those_in_own_memory(lora: bool, checkpoint: Path, tmp_path: Path) -> None:
    mapped = load_language_model(checkpoint)
    own = in_own_memory(mapped)
    with torch.no_grad():
        torch.testing.assert_close(mapped(INPUT_IDS), own(INPUT_IDS), rtol=1e-5, atol=1e-7)
    for model in (mapped, own):
        if lora:
            add_lora(model, rank=2, alpha=6, generator=torch.Generator().manual_seed(2))
        train_a_step(model)
        if lora:
            merge_lora(model)
    assert_same(mapped.state_dict(), own.state_dict())
    assert_same(copy.deepcopy(mapped).state_dict(), own.state_dict())
    save_language_model(mapped, tmp_path / "trained", 60)
    assert_same(load_language_model(tmp_path / "trained").state_dict(), own.state_dict())


def test_a_model_outlives_its_file_and_can_be_saved_over_it(checkpoint: Path) -> None:
    model = load_language_model(checkpoint)
    with torch.no_grad():
        before = model(INPUT_IDS)
        save_language_model(new_language_model(TINY, torch.Generator().manual_seed(3)), checkpoint, 60)
        assert torch.equal(model(INPUT_IDS), before)
        save_language_model(model, checkpoint, 60)
        assert torch.equal(load_language_model(checkpoint)(INPUT_IDS), before)
        shutil.rmtree(checkpoint)
        assert torch.equal(model(INPUT_IDS), before)
