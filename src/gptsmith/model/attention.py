"""Causal multi-head self-attention: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

Every position asks (query) all positions up to itself (keys) what they have to say (values), in
n_heads independent subspaces of width d_model / n_heads.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gptsmith.config.architecture import Architecture
from gptsmith.model.kv_cache import LayerCache


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """bool [n_queries, n_keys], True where a query may look. The queries are the last of the keys'
    positions, so the last query sees every key."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def explicit_attention(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """softmax(Q K^T / sqrt(head_width)) V, step by step: the reference.

    queries [batch, n_heads, n_queries, head_width]; keys, values [batch, n_heads, n_keys, head_width];
    visible bool, broadcastable to [batch, n_heads, n_queries, n_keys], or None for the causal mask
    -> [batch, n_heads, n_queries, head_width].
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    if visible is None:
        visible = causal_mask(queries.shape[-2], keys.shape[-2], queries.device)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
    return functional.dropout(weights, dropout) @ values


def fused_attention(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """The same function and shapes as `explicit_attention`, without ever storing all the scores
    (Dao et al., "FlashAttention", 2022)."""
    n_queries, n_keys = queries.shape[-2], keys.shape[-2]
    # The library's own causal mask aligns the first query with the first key; a single last query needs none.
    if visible is None and 1 < n_queries < n_keys:
        visible = causal_mask(n_queries, n_keys, queries.device)
    is_causal = visible is None and n_queries == n_keys
    return functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=visible, dropout_p=dropout, is_causal=is_causal
    )


ATTENTION: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]] = {
    "explicit": explicit_attention,
    "fused": fused_attention,
}


class MultiHeadSelfAttention(nn.Module):
    """Queries, keys and values by one projection, attention in every head, and a projection back."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        d_model = architecture.d_model
        self.n_heads = architecture.n_heads
        self.attend = ATTENTION[architecture.attention]
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.projection = nn.Linear(d_model, d_model)
        self.attention_dropout = nn.Dropout(0.0)
        self.residual_dropout = nn.Dropout(0.0)

    def forward(self, hidden: Tensor, cache: LayerCache | None = None) -> Tensor:
        """hidden [batch, length, d_model] -> [batch, length, d_model].

        With a cache, `hidden` continues the positions in it, and its keys and values are added to it.
        """
        queries, keys, values = (self._split_heads(part) for part in self.qkv(hidden).chunk(3, dim=-1))
        if cache is not None:
            keys, values = cache.extend(keys, values)
        return self._mix(queries, keys, values, visible=None)

    def forward_at(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """hidden [batch, length, d_model], positions [batch] -> [batch, d_model]: what `forward` gives
        at one position a row, without the queries and the projection of all the others."""
        batch, length, d_model = hidden.shape
        query_weight, kv_weight = self.qkv.weight.split([d_model, 2 * d_model])
        query_bias, kv_bias = self.qkv.bias.split([d_model, 2 * d_model])
        rows = torch.arange(batch, device=hidden.device)
        query = functional.linear(hidden[rows, positions], query_weight, query_bias).unsqueeze(1)
        keys, values = functional.linear(hidden, kv_weight, kv_bias).chunk(2, dim=-1)
        visible = torch.arange(length, device=hidden.device) <= positions[:, None]
        mixed = self._mix(
            self._split_heads(query), self._split_heads(keys), self._split_heads(values), visible[:, None, None, :]
        )
        return mixed.squeeze(1)

    def _split_heads(self, x: Tensor) -> Tensor:
        """[batch, length, d_model] -> [batch, n_heads, length, head_width], a view."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _mix(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        """Shapes as in `explicit_attention` -> [batch, n_queries, d_model]."""
        dropout = self.attention_dropout.p if self.training else 0.0
        mixed = self.attend(queries, keys, values, visible, dropout)
        return self.residual_dropout(self.projection(mixed.transpose(1, 2).flatten(start_dim=-2)))
