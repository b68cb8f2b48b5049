"""Each quicker path to a loss gives the loss and the gradients of the plain one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture
from gptsmith.model.heads import LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.training.examples import Batch, ClassificationExamples, LanguageExamples
from gptsmith.training.objectives import (
    balanced_class_weights,
    class_logits,
    classification_loss,
    language_loss,
    language_loss_shared,
)

SHAPE = Architecture(vocab_size=20, context_length=16, d_model=12, n_layers=2, n_heads=2)


def language_model() -> LanguageModel:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def batch_of(beginning: list[int], rests: list[list[int]], first_targets: list[int]) -> Batch:
    texts = [np.array([*beginning, *rest], dtype=np.int32) for rest in rests]
    return LanguageExamples(texts, np.array(first_targets), padding=0).batch(range(len(texts)))


def loss_and_gradients(objective: object, model: LanguageModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    total = objective(model, batch).total  # type: ignore[operator]
    total.backward()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


tokens = st.integers(1, 19)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(tokens, max_size=6),
    st.lists(st.lists(tokens, min_size=2, max_size=6), min_size=1, max_size=4),
    st.data(),
)
def test_a_shared_beginning_changes_nothing(beginning: list[int], rests: list[list[int]], data: st.DataObject) -> None:
    learn_from_all = data.draw(st.booleans())
    first_targets = [
        1 if learn_from_all else data.draw(st.integers(1, len(beginning) + len(rest) - 1)) for rest in rests
    ]
    batch = batch_of(beginning, rests, first_targets)
    if len(rests) > 1 and learn_from_all:
        assert batch.n_shared >= len(beginning)
    model = language_model()
    expected, expected_gradients = loss_and_gradients(language_loss, model, batch)
    total, gradients = loss_and_gradients(language_loss_shared, model, batch)
    torch.testing.assert_close(total, expected)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("objective", [language_loss, language_loss_shared])
def test_hidden_states_of_frozen_blocks_stand_for_the_tokens(objective: object) -> None:
    model = language_model()
    model.trunk.embeddings.requires_grad_(False)
    model.trunk.blocks[0].requires_grad_(False)
    batch = batch_of([1, 2, 3], [[4, 5], [6, 7, 8, 9]], [4, 4])
    with torch.no_grad():
        hidden = model.trunk.lower(batch.input_ids, 1)
    stored = replace(batch, input_ids=torch.zeros_like(batch.input_ids), hidden=hidden, n_blocks=1)
    expected, expected_gradients = loss_and_gradients(objective, model, batch)
    total, gradients = loss_and_gradients(objective, model, stored)
    torch.testing.assert_close(total, expected)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], msg=name)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_balanced_class_weights_are_those_of_scikit_learn(n_classes: int) -> None:
    labels = np.random.default_rng(n_classes).integers(n_classes, size=200) // 2 * 2 % n_classes
    labels[:n_classes] = np.arange(n_classes)
    expected = compute_class_weight("balanced", classes=np.arange(n_classes), y=labels)
    weights = balanced_class_weights(labels, n_classes)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[labels].sum().item() == pytest.approx(len(labels))


def test_weighted_classes_count_as_torch_counts_them() -> None:
    model = new_classifier(SHAPE, 3, torch.Generator().manual_seed(0))
    labels = np.array([0, 0, 0, 1, 2, 0], dtype=np.int64)
    texts = [np.arange(1, 3 + n, dtype=np.int32) for n in range(6)]
    batch = ClassificationExamples(texts, labels, padding=0).batch(range(6))
    weights = balanced_class_weights(labels, 3)
    loss = classification_loss(model, batch, weights)
    expected = nn.CrossEntropyLoss(weight=weights)(class_logits(model, batch), batch.targets)
    # Over all examples the weights add up to their number, so here torch's mean is ours.
    torch.testing.assert_close(loss.total / batch.n_targets, expected)
    parts = [ClassificationExamples(texts, labels, padding=0).batch(part) for part in ([0, 3], [1, 2, 4, 5])]
    torch.testing.assert_close(sum(classification_loss(model, part, weights).total for part in parts), loss.total)
    assert loss.total != classification_loss(model, batch).total
