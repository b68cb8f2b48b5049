"""Causal multi-head self-attention: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

Every position asks (query) all positions up to itself (keys) what they have to say (values), in
n_heads independent subspaces of width d_model / n_heads.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from gptsmith.config.architecture import Architecture


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
    if visible is None and n_queries == n_keys:
        return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible, dropout_p=dropout)


Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]

ATTENTION: dict[str, Attention] = {"explicit": explicit_attention, "fused": fused_attention}


class Layout(Protocol):
    """Where positions see more, or others, than those before them in their row: gptsmith.model.kv_cache,
    gptsmith.model.shared_beginning."""

    def attend(self, attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """All [batch, n_heads, length, head_width], `attention` as in `explicit_attention`."""
        ...


class MultiHeadSelfAttention(nn.Module):
    """Queries, keys and values by one projection, attention in every head, and a projection back."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        d_model = architecture.d_model
        self.n_heads = architecture.n_heads
        self.attend = ATTENTION[architecture.attention]
        self.is_gpt2 = architecture.is_gpt2
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.projection = nn.Linear(d_model, d_model)
        self.attention_dropout = nn.Dropout(0.0)
        self.residual_dropout = nn.Dropout(0.0)

    def forward(self, hidden: Tensor, layout: Layout | None = None) -> Tensor:
        """hidden [batch, length, d_model] -> [batch, length, d_model].

        Without a `layout`, every position sees those before it in its row, and itself.
        """
        queries, keys, values = (self._split_heads(part) for part in self.qkv(hidden).chunk(3, dim=-1))
        dropout = self.attention_dropout.p if self.training else 0.0
        if layout is None:
            mixed = self.attend(queries, keys, values, None, dropout)
        else:
            mixed = layout.attend(self.attend, queries, keys, values, dropout)
        return self.residual_dropout(self.projection(mixed.transpose(1, 2).flatten(start_dim=-2)))

    def forward_at(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """hidden [batch, length, d_model], positions [batch] -> [batch, d_model]: what `forward` gives
        at one position a row.

        One query a head needs no key and no value of its own at every position. With x_t the hidden state
        at position t, its key is W_K x_t + b_K and its value W_V x_t + b_V, so

            q . (W_K x_t + b_K)          = (W_K^T q) . x_t + a constant, which softmax does not see
            sum_t a_t (W_V x_t + b_V)    = W_V (sum_t a_t x_t) + b_V sum_t a_t

        and both weights are applied once a row instead of once a position. Only GPT-2's attention is known to be such
        a softmax over all positions before; any other takes the plain path.
        """
        if not self.is_gpt2:
            return self.forward(hidden)[torch.arange(len(hidden), device=hidden.device), positions]
        query_weight, key_weight, value_weight = self.qkv.weight.unflatten(0, (3, self.n_heads, -1)).unbind()
        query_bias, _, value_bias = self.qkv.bias.unflatten(0, (3, self.n_heads, -1)).unbind()
        here = hidden[torch.arange(len(hidden), device=hidden.device), positions]
        queries = torch.einsum("bd,hwd->bhw", here, query_weight) + query_bias
        queries_on_hidden = torch.einsum("bhw,hwd->bhd", queries, key_weight)
        scores = queries_on_hidden @ hidden.transpose(1, 2) / math.sqrt(queries.shape[-1])
        visible = torch.arange(hidden.shape[1], device=hidden.device) <= positions[:, None]
        weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(dim=-1)
        weights = self.attention_dropout(weights)
        mixed = torch.einsum("bhd,hwd->bhw", weights @ hidden, value_weight)
        mixed = mixed + weights.sum(dim=-1, keepdim=True) * value_bias
        return self.residual_dropout(self.projection(mixed.flatten(start_dim=1)))

    def _split_heads(self, x: Tensor) -> Tensor:
        """[batch, length, d_model] -> [batch, n_heads, length, head_width], a view."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
