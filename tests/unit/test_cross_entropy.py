"""The cross-entropy that is computed part by part is that of the plain path, and so are its gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gptsmith.training import cross_entropy
from gptsmith.training.cross_entropy import token_cross_entropy


def inputs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, 6, generator=generator).requires_grad_()
    embedding = torch.randn(11, 6, generator=generator).requires_grad_()
    return hidden, embedding, torch.randint(11, (n,), generator=generator)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9])
def test_loss_and_gradients_are_those_of_the_whole_logits(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "POSITIONS_AT_ONCE", 4)
    hidden, embedding, targets = inputs(n)
    loss = token_cross_entropy(hidden, embedding, targets)
    (loss * 0.3).backward()
    found = hidden.grad, embedding.grad
    hidden.grad = embedding.grad = None
    expected = functional.cross_entropy(functional.linear(hidden, embedding), targets, reduction="sum")
    (expected * 0.3).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, (hidden.grad, embedding.grad))
    with torch.no_grad():
        torch.testing.assert_close(token_cross_entropy(hidden, embedding, targets), expected)


@pytest.mark.parametrize("learned", [0, 1])
def test_what_is_frozen_gets_no_gradient(learned: int) -> None:
    hidden, embedding, targets = inputs(5)
    both = hidden, embedding
    token_cross_entropy(*both, targets).backward()
    expected = both[learned].grad
    hidden.grad = embedding.grad = None
    both[1 - learned].requires_grad_(False)
    token_cross_entropy(*both, targets).backward()
    assert both[1 - learned].grad is None
    torch.testing.assert_close(both[learned].grad, expected)


def test_in_bfloat16_the_gradients_are_summed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, embedding, targets = inputs(9)
    gradients = []
    for positions_at_once in (9, 1):
        monkeypatch.setattr(cross_entropy, "POSITIONS_AT_ONCE", positions_at_once)
        embedding.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = token_cross_entropy(hidden, embedding, targets)
        loss.backward()
        assert loss.dtype == embedding.grad.dtype == torch.float32  # type: ignore[union-attr]
        gradients.append(embedding.grad)
    torch.testing.assert_close(*gradients, rtol=0.01, atol=0.01)
