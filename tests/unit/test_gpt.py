import math

import pytest
import torch

from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.model.kv_cache import KeyValueCache

TINY = Architecture(vocab_size=61, context_length=16, d_model=24, n_layers=3, n_heads=4)


def language_model(architecture: Architecture = TINY) -> LanguageModel:
    return new_language_model(architecture, torch.Generator().manual_seed(1)).eval()


def classifier() -> Classifier:
    return new_classifier(TINY, 3, torch.Generator().manual_seed(1)).eval()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(TINY.vocab_size, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("size", "n_parameters"),
    [
        ("gpt2-small", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_published_sizes_have_their_parameters(size: str, n_parameters: int) -> None:
    with torch.device("meta"):
        model = LanguageModel(GPT2_SIZES[size])
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters
    assert GPT2_SIZES[size].n_parameters == n_parameters


def test_an_untied_head_has_weights_of_its_own() -> None:
    model = language_model(TINY.model_copy(update={"tie_embeddings": False}))
    assert model.head is not None
    assert sum(parameter.numel() for parameter in model.parameters()) == model.architecture.n_parameters
    before = model(tokens(1, 4))
    model.head.weight.data.mul_(2)
    torch.testing.assert_close(model(tokens(1, 4)), 2 * before)


def test_explicit_and_fused_models_agree() -> None:
    fused = language_model()
    explicit = language_model(TINY.model_copy(update={"attention": "explicit"}))
    torch.testing.assert_close(fused(tokens(2, 9)), explicit(tokens(2, 9)))


def test_a_position_sees_nothing_after_it() -> None:
    model, input_ids = language_model(), tokens(1, 9)
    changed = input_ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % TINY.vocab_size
    torch.testing.assert_close(model(changed)[:, :5], model(input_ids)[:, :5])
    assert not torch.allclose(model(changed)[:, 5], model(input_ids)[:, 5])


@pytest.mark.parametrize("path", ["explicit", "fused"])
def test_dropout_is_active_in_training_only(path: str) -> None:
    model = language_model(TINY.model_copy(update={"attention": path}))
    input_ids = tokens(2, 9)
    without = model(input_ids)
    torch.testing.assert_close(model.train()(input_ids), without)  # a new model drops nothing
    set_dropout(model, 0.3)
    torch.testing.assert_close(model.eval()(input_ids), without)
    model.train()
    assert not torch.allclose(model(input_ids), without)
    assert not torch.allclose(model(input_ids), model(input_ids))


@pytest.mark.parametrize("path", ["explicit", "fused"])
def test_attention_weights_are_dropped_too(path: str) -> None:
    """All other dropouts are 0 here."""
    attention = language_model(TINY.model_copy(update={"attention": path})).trunk.blocks[0].attention.train()
    attention.attention_dropout.p = 0.5
    hidden = torch.randn(2, 9, TINY.d_model)
    assert not torch.allclose(attention(hidden, None), attention(hidden, None))


@pytest.mark.parametrize("chunks", [[9], [1] * 9, [4, 1, 3, 1]])
@pytest.mark.parametrize("path", ["explicit", "fused"])
def test_cached_equals_uncached(path: str, chunks: list[int]) -> None:
    model, input_ids = language_model(TINY.model_copy(update={"attention": path})), tokens(3, 9)
    cache = KeyValueCache(TINY, batch=3, length=12)
    with torch.no_grad():
        cached = torch.cat([model(chunk, cache) for chunk in input_ids.split(chunks, dim=1)], dim=1)
        torch.testing.assert_close(cached, model(input_ids))
    assert cache.length == 9


def test_rows_leave_the_cache() -> None:
    model, input_ids = language_model(), tokens(4, 9)
    cache = KeyValueCache(TINY, batch=4, length=9)
    with torch.no_grad():
        model(input_ids[:, :5], cache)
        cache.keep([0, 2, 3])
        model(input_ids[[0, 2, 3], 5:7], cache)
        cache.keep([1])
        torch.testing.assert_close(model(input_ids[[2], 7:], cache), model(input_ids[[2]])[:, 7:])


def test_rows_of_the_cache_change_places() -> None:
    model, input_ids = language_model(), tokens(5, 9)
    cache = KeyValueCache(TINY, batch=5, length=9)
    with torch.no_grad():
        model(input_ids[:, :5], cache)
        for rows in ([4, 1, 3], [2, 0]):
            cache.keep(rows)
            input_ids = input_ids[rows]
        torch.testing.assert_close(model(input_ids[:, 5:], cache), model(input_ids)[:, 5:])


def test_one_row_begins_every_row_of_the_cache() -> None:
    model, input_ids = language_model(), tokens(3, 9)
    input_ids[:, :4] = input_ids[0, :4]
    cache = KeyValueCache(TINY, batch=3, length=9)
    with torch.no_grad():
        beginning = model(input_ids[:1, :4], cache)
        assert len(beginning) == 1
        rest = model(input_ids[:, 4:], cache)
        torch.testing.assert_close(torch.cat([beginning.expand(3, -1, -1), rest], dim=1), model(input_ids))


def test_more_positions_than_the_context_length_are_refused() -> None:
    model = language_model()
    cache = KeyValueCache(TINY, batch=1, length=20)
    with torch.no_grad():
        model(tokens(1, 15), cache)
        with pytest.raises(ValueError, match="17 positions, but the context length is 16"):
            model(tokens(1, 2), cache)
    with pytest.raises(ValueError, match="context length"):
        model(tokens(1, 17))


@pytest.mark.parametrize("n_blocks", [0, 1, 2, 3])
def test_a_model_can_be_computed_in_two_parts(n_blocks: int) -> None:
    model, input_ids, lengths = classifier(), tokens(3, 9), torch.tensor([9, 1, 4])
    lower = model.trunk.lower(input_ids, n_blocks)
    last_hidden_state = model.trunk(input_ids)
    logits = model.score(last_hidden_state[torch.arange(3), lengths - 1])
    torch.testing.assert_close(model.classify(lower, n_blocks, lengths), logits)
    torch.testing.assert_close(model(input_ids, lengths), logits)


def test_gradients_of_a_classifier_are_those_of_the_whole_trunk() -> None:
    """The last block is computed at one position; that must not show in what is learned."""
    model, input_ids, lengths = classifier(), tokens(3, 9), torch.tensor([9, 1, 4])
    model(input_ids, lengths).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.score(model.trunk(input_ids)[torch.arange(3), lengths - 1]).square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=name)


def test_a_classification_does_not_depend_on_padding() -> None:
    model, text = classifier(), tokens(1, 5)
    alone = model(text, torch.tensor([5]))
    for n_padding, padding in [(1, 0), (11, 7)]:
        padded = torch.cat([text, torch.full((1, n_padding), padding)], dim=1)
        with_others = torch.cat([padded, tokens(2, 5 + n_padding)])
        logits = model(with_others, torch.tensor([5, 5 + n_padding, 1]))
        torch.testing.assert_close(logits[:1], alone)


def test_a_seed_decides_all_weights() -> None:
    first, again = (new_classifier(TINY, 2, torch.Generator().manual_seed(5)).state_dict() for _ in range(2))
    other = new_classifier(TINY, 2, torch.Generator().manual_seed(6)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["score.weight"], other["score.weight"])


def test_initialization_is_that_of_gpt2() -> None:
    architecture = Architecture(vocab_size=400, context_length=300, d_model=128, n_layers=4, n_heads=4)
    state = new_language_model(architecture, torch.Generator().manual_seed(0)).state_dict()
    for name, tensor in state.items():
        if "norm.weight" in name:
            assert torch.equal(tensor, torch.ones_like(tensor)), name
        elif name.endswith("bias"):
            assert torch.equal(tensor, torch.zeros_like(tensor)), name
        else:
            residual = name.endswith(("projection.weight", "down.weight"))
            expected = 0.02 / math.sqrt(8) if residual else 0.02
            assert tensor.std().item() == pytest.approx(expected, rel=0.02), name
            assert abs(tensor.mean().item()) < expected / 50, name
