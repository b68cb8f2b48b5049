import math
from typing import Any

import pytest
import torch

from gptsmith.config.architecture import Architecture
from gptsmith.model.attention import MultiHeadSelfAttention, explicit_attention, fused_attention

# Queries are the last of the keys' positions: all of them, some (a cached prefix), one (a cached step).
SHAPES = [(1, 1), (7, 7), (3, 8), (1, 8)]


def random_attention(n_queries: int, n_keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_queries * 100 + n_keys)
    queries = torch.randn(2, 3, n_queries, 4, generator=generator)
    keys, values = torch.randn(2, 2, 3, n_keys, 4, generator=generator)
    return queries, keys, values


@pytest.mark.parametrize(("n_queries", "n_keys"), SHAPES)
def test_explicit_attention_is_the_weighted_mean_of_the_values_seen(n_queries: int, n_keys: int) -> None:
    queries, keys, values = random_attention(n_queries, n_keys)
    mixed = explicit_attention(queries, keys, values, None, 0.0)
    for query in range(n_queries):
        seen = n_keys - n_queries + query + 1
        scores = torch.einsum("bhw,bhkw->bhk", queries[:, :, query], keys[:, :, :seen]) / math.sqrt(4)
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        expected = torch.einsum("bhk,bhkw->bhw", weights, values[:, :, :seen])
        torch.testing.assert_close(mixed[:, :, query], expected)


@pytest.mark.parametrize(("n_queries", "n_keys"), SHAPES)
def test_fused_attention_equals_explicit(n_queries: int, n_keys: int) -> None:
    inputs = random_attention(n_queries, n_keys)
    torch.testing.assert_close(fused_attention(*inputs, None, 0.0), explicit_attention(*inputs, None, 0.0))


def test_fused_attention_equals_explicit_with_a_mask() -> None:
    inputs = random_attention(1, 8)
    visible = (torch.arange(8) <= torch.tensor([[2], [7]]))[:, None, None, :]
    torch.testing.assert_close(fused_attention(*inputs, visible, 0.0), explicit_attention(*inputs, visible, 0.0))


@pytest.mark.parametrize("path", ["explicit", "fused"])
def test_attention_at_one_position_is_that_position_of_the_whole(path: Any) -> None:
    torch.manual_seed(0)
    attention = MultiHeadSelfAttention(Architecture(d_model=12, n_heads=3, attention=path))
    hidden, positions = torch.randn(3, 6, 12), torch.tensor([0, 5, 3])
    whole = attention(hidden, None)
    torch.testing.assert_close(attention.forward_at(hidden, None, positions), whole[torch.arange(3), positions])
