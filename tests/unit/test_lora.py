import torch

from gptsmith.config.architecture import Architecture
from gptsmith.model.heads import LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.model.lora import LoRALinear, adapter_state_dict, add_lora, merge_lora

TINY = Architecture(vocab_size=61, context_length=16, d_model=24, n_layers=2, n_heads=4)
INPUT_IDS = torch.randint(61, (3, 9), generator=torch.Generator().manual_seed(2))


def language_model() -> LanguageModel:
    return new_language_model(TINY, torch.Generator().manual_seed(1)).eval()


def adapted_model() -> LanguageModel:
    """A model whose adapters do something."""
    model, generator = language_model(), torch.Generator().manual_seed(3)
    add_lora(model, rank=4, alpha=8, generator=generator)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.b, std=0.1, generator=generator)
    return model


def test_adapters_start_as_nothing() -> None:
    model = language_model()
    before = model(INPUT_IDS)
    add_lora(model, rank=4, alpha=8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model(INPUT_IDS), before)


def test_a_linear_layer_computes_w_plus_scaled_ba() -> None:
    layer = torch.nn.Linear(5, 7)
    adapted = LoRALinear(layer, rank=2, alpha=6, generator=torch.Generator())
    torch.nn.init.normal_(adapted.b)
    x = torch.randn(4, 5)
    weight = layer.weight + 6 / 2 * adapted.b @ adapted.a
    torch.testing.assert_close(adapted(x), x @ weight.T + layer.bias)
    torch.testing.assert_close(adapted.weight, weight)


def test_only_adapters_are_trainable_and_all_learn() -> None:
    model = adapted_model()
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == set(adapter_state_dict(model))
    # Two matrices of rank 4 for each of four layers: in + out numbers a rank.
    widths = [24 + 72, 24 + 24, 24 + 96, 96 + 24]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 4 * sum(widths)
    model(INPUT_IDS).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trainable)
        assert parameter.grad is None or parameter.grad.abs().max() > 0, name


def test_merging_changes_no_output_and_leaves_plain_layers() -> None:
    model = adapted_model()
    adapted = model(INPUT_IDS)
    assert not torch.allclose(adapted, language_model()(INPUT_IDS), atol=1e-3)
    merge_lora(model)
    torch.testing.assert_close(model(INPUT_IDS), adapted)
    assert model.state_dict().keys() == language_model().state_dict().keys()
    assert adapter_state_dict(model) == {}


def test_a_classifier_with_adapters_reads_one_position_like_the_whole() -> None:
    model, lengths = new_classifier(TINY, 2, torch.Generator().manual_seed(1)).eval(), torch.tensor([9, 1, 4])
    generator = torch.Generator().manual_seed(3)
    add_lora(model, rank=4, alpha=8, generator=generator)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.b, std=0.1, generator=generator)
    expected = model.score(model.trunk(INPUT_IDS)[torch.arange(3), lengths - 1])
    torch.testing.assert_close(model(INPUT_IDS, lengths), expected)


def test_adapters_are_decided_by_the_generator() -> None:
    states = []
    for _ in range(2):
        model = language_model()
        add_lora(model, rank=4, alpha=8, generator=torch.Generator().manual_seed(9))
        states.append(adapter_state_dict(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
