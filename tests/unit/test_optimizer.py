"""The learning rate step by step, and what weight decay is for."""

import itertools
from typing import Any

import pytest
import torch

from gptsmith.config.architecture import Architecture
from gptsmith.config.training import Training
from gptsmith.model.initialization import new_classifier
from gptsmith.training.optimizer import learning_rate, make_optimizer


def rates(n_steps: int, **settings: Any) -> list[float]:
    plan = Training(learning_rate=2.0, **settings)
    return [learning_rate(step, n_steps, plan) for step in range(n_steps)]


def test_warm_up_rises_linearly_to_the_highest_rate() -> None:
    assert rates(20, warmup_fraction=0.25)[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    # Never 0: every step learns something, and the last of the warm-up is the highest.
    assert rates(4, warmup_fraction=1) == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates(3, warmup_fraction=0)[0] == 2.0


def test_the_cosine_falls_to_its_end() -> None:
    falling = rates(24, warmup_fraction=3 / 24, final_learning_rate_fraction=0.1)[3:]
    assert falling[0] == 2.0
    assert falling[10] == pytest.approx((2.0 + 0.2) / 2)  # half way
    assert falling[-1] == pytest.approx(0.2)
    assert falling == sorted(falling, reverse=True)
    # Slow, fast, slow.
    drops = [before - after for before, after in itertools.pairwise(falling)]
    assert max(drops) == pytest.approx(drops[len(drops) // 2], rel=0.02)
    assert max(drops[0], drops[-1]) < max(drops) / 5


def test_a_constant_rate_stays() -> None:
    assert rates(10, schedule="constant", warmup_fraction=0.2) == pytest.approx([1.0] + [2.0] * 9)


@pytest.mark.parametrize("n_steps", [1, 2])
def test_the_shortest_trainings_have_a_rate(n_steps: int) -> None:
    for rate in rates(n_steps, warmup_fraction=0.1) + rates(n_steps, warmup_fraction=1):
        assert 0 < rate <= 2.0


def test_matrices_decay_and_biases_and_layer_norms_do_not() -> None:
    architecture = Architecture(vocab_size=7, context_length=4, d_model=8, n_layers=1, n_heads=2)
    model = new_classifier(architecture, 2, torch.Generator().manual_seed(1))
    model.trunk.embeddings.requires_grad_(False)
    optimizer = make_optimizer(model.parameters(), Training(weight_decay=0.25, beta2=0.9, learning_rate=0.5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if name.startswith("trunk.embeddings"):
            assert id(parameter) not in decay, name  # frozen
        else:
            assert decay[id(parameter)] == (0.0 if name.endswith("bias") or "norm" in name else 0.25), name
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.9)}


def test_decay_is_decoupled_from_the_gradient() -> None:
    """With a gradient of 0, AdamW multiplies by 1 - learning rate x weight decay."""
    matrix, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer([matrix, bias], Training(learning_rate=0.5, weight_decay=0.2))
    for parameter in (matrix, bias):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.9))
    assert bias.tolist() == [1.0, 1.0]
