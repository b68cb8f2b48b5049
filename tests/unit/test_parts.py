"""The parts of the model, each swapped alone and all of them together: whichever it has, every way of computing it
gives the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gptsmith.checkpoint.files import load_classifier, load_language_model, save_classifier, save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.model.kv_cache import KeyValueCache
from gptsmith.model.lora import LoRALinear, add_lora, merge_lora
from gptsmith.model.rotary import rotation_at

GPT2 = Architecture(vocab_size=61, context_length=16, d_model=24, n_layers=3, n_heads=4)
SWAPPED = {
    "gpt2": {},
    "rms-norm": {"norm": "rms_norm"},
    "rotary": {"position": "rotary"},
    "swiglu": {"activation": "swiglu"},
    "grouped-query": {"n_kv_heads": 2},
    "one-kv-head": {"n_kv_heads": 1, "position": "rotary"},
    "no-bias": {"bias": False},
    "untied": {"tie_embeddings": False},
    "llama": {"norm": "rms_norm", "position": "rotary", "activation": "swiglu", "bias": False, "n_kv_heads": 2},
    "llama-with-bias": {"norm": "rms_norm", "position": "rotary", "activation": "swiglu", "n_kv_heads": 2},
}


@pytest.fixture(params=SWAPPED)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return Architecture.model_validate(GPT2.model_dump() | SWAPPED[request.param])


@pytest.fixture
def language_model(architecture: Architecture) -> LanguageModel:
    return randomized(new_language_model(architecture, torch.Generator().manual_seed(1)))


@pytest.fixture
def classifier(architecture: Architecture) -> Classifier:
    return randomized(new_classifier(architecture, 3, torch.Generator().manual_seed(1)))


def randomized(model: Any) -> Any:
    """With all parameters random, so that biases and norms count too; in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return model.eval()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(GPT2.vocab_size, shape, generator=torch.Generator().manual_seed(3))


def test_parameters_are_counted(language_model: LanguageModel) -> None:
    counted = language_model.architecture.n_parameters
    assert sum(parameter.numel() for parameter in language_model.parameters()) == counted


def test_explicit_and_fused_attention_agree(language_model: LanguageModel) -> None:
    explicit = LanguageModel(language_model.architecture.model_copy(update={"attention": "explicit"})).eval()
    explicit.load_state_dict(language_model.state_dict())
    torch.testing.assert_close(language_model(tokens(2, 9)), explicit(tokens(2, 9)))


def test_a_position_sees_nothing_after_it(language_model: LanguageModel) -> None:
    input_ids = tokens(1, 9)
    changed = input_ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % GPT2.vocab_size
    torch.testing.assert_close(language_model(changed)[:, :5], language_model(input_ids)[:, :5])


def test_the_order_of_tokens_counts(language_model: LanguageModel) -> None:
    input_ids = torch.tensor([[5, 9, 30, 7]])
    swapped = torch.tensor([[9, 5, 30, 7]])
    assert not torch.allclose(language_model(input_ids)[:, -1], language_model(swapped)[:, -1], atol=1e-4)


@torch.no_grad()
def test_cached_equals_uncached(language_model: LanguageModel) -> None:
    input_ids = tokens(4, 9)
    input_ids[:, :2] = input_ids[0, :2]
    whole = language_model(input_ids)
    cache = KeyValueCache(language_model.architecture, batch=4, length=12)
    torch.testing.assert_close(language_model(input_ids[:1, :2], cache), whole[:1, :2])
    torch.testing.assert_close(language_model(input_ids[:, 2:6], cache), whole[:, 2:6])
    cache.keep([3, 1])
    for position in range(6, 9):
        logits = language_model(input_ids[[3, 1], position : position + 1], cache)
        torch.testing.assert_close(logits[:, 0], whole[[3, 1], position])


@pytest.mark.parametrize("n_blocks", [0, 2, 3])
def test_a_classification_can_be_computed_in_two_parts(classifier: Classifier, n_blocks: int) -> None:
    input_ids, lengths = tokens(3, 9), torch.tensor([9, 1, 4])
    lower = classifier.trunk.lower(input_ids, n_blocks)
    last_hidden_state = classifier.trunk(input_ids)
    logits = classifier.score(last_hidden_state[torch.arange(3), lengths - 1])
    torch.testing.assert_close(classifier.classify(lower, n_blocks, lengths), logits)


def test_gradients_of_a_classifier_are_those_of_the_whole_trunk(classifier: Classifier) -> None:
    input_ids, lengths = tokens(3, 9), torch.tensor([9, 1, 4])
    classifier(input_ids, lengths).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in classifier.named_parameters()}
    classifier.zero_grad()
    classifier.score(classifier.trunk(input_ids)[torch.arange(3), lengths - 1]).square().sum().backward()
    for name, parameter in classifier.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("n_shared", [1, 4])
def test_a_shared_beginning_is_computed_once(language_model: LanguageModel, n_shared: int) -> None:
    input_ids, trunk = tokens(3, 9), language_model.trunk
    input_ids[:, :n_shared] = input_ids[0, :n_shared]
    beginning, rest = trunk.upper_shared(trunk.lower(input_ids, 1), 1, n_shared)
    whole = trunk(input_ids)
    torch.testing.assert_close(beginning, whole[:1, :n_shared])
    torch.testing.assert_close(rest, whole[:, n_shared:])


def test_a_checkpoint_holds_the_model(language_model: LanguageModel, tmp_path: Path) -> None:
    save_language_model(language_model, tmp_path, end_of_text=60)
    loaded = load_language_model(tmp_path)
    assert loaded.architecture == language_model.architecture
    for name, tensor in language_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_checkpoint_holds_the_classifier(classifier: Classifier, tmp_path: Path) -> None:
    save_classifier(classifier, tmp_path, ["a", "b", "c"], end_of_text=60)
    loaded, labels = load_classifier(tmp_path)
    assert labels == ["a", "b", "c"]
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_adapters_are_put_on_every_linear_layer_and_merge(language_model: LanguageModel) -> None:
    architecture = language_model.architecture
    add_lora(language_model, rank=2, alpha=4.0, generator=torch.Generator().manual_seed(0))
    adapted = [module for module in language_model.modules() if isinstance(module, LoRALinear)]
    assert len(adapted) == architecture.n_layers * (5 if architecture.is_gated else 4)
    with torch.no_grad():
        for layer in adapted:
            layer.b.normal_(generator=torch.Generator().manual_seed(1))
        logits = language_model(tokens(2, 9))
        merge_lora(language_model)
        torch.testing.assert_close(language_model(tokens(2, 9)), logits, rtol=1e-4, atol=1e-4)


def test_rotation_leaves_products_to_the_distance() -> None:
    """Su et al. 2021, equation 16: the product of a turned query and a turned key depends on how far they are apart."""
    architecture = GPT2.model_copy(update={"position": "rotary"})
    query, key = torch.randn(2, 1, 1, 1, architecture.head_width, generator=torch.Generator().manual_seed(0))

    def product(of_query: int, of_key: int) -> torch.Tensor:
        turned = (
            rotation.turn(head)
            for head, place in ((query, of_query), (key, of_key))
            if (rotation := rotation_at(torch.tensor([place]), architecture)) is not None
        )
        first, second = turned
        return (first * second).sum()

    torch.testing.assert_close(product(7, 4), product(103, 100))
    assert not torch.allclose(product(7, 4), product(7, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_kv_heads": 3}, r"n_heads \(4\) must be a multiple of n_kv_heads \(3\)"),
        ({"d_model": 20, "position": "rotary"}, r"d_model / n_heads \(5\) must be even"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.model_validate(GPT2.model_dump() | changes)


def test_a_gate_costs_no_more_parameters() -> None:
    plain, gated = (GPT2.model_copy(update={"activation": name, "d_model": 768}) for name in ("gelu", "swiglu"))
    assert gated.n_parameters == pytest.approx(plain.n_parameters, rel=0.001)
