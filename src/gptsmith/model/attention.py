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
from gptsmith.model.rotary import Rotation


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """bool [n_queries, n_keys], True where a query may look. The queries are the last of the keys'
    positions, so the last query sees every key."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def explicit_attention(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """softmax(Q K^T / sqrt(head_width)) V, step by step: the reference.

    queries [batch, n_heads, n_queries, head_width]; keys, values [batch, n_kv_heads, n_keys, head_width], each head of
    them for n_heads / n_kv_heads heads of queries in a row;
    visible bool, broadcastable to [batch, n_heads, n_queries, n_keys], or None for the causal mask
    -> [batch, n_heads, n_queries, head_width].
    """
    keys, values = (_for_each_query(part, queries) for part in (keys, values))
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    if visible is None:
        visible = causal_mask(queries.shape[-2], keys.shape[-2], queries.device)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
    return functional.dropout(weights, dropout) @ values


def fused_attention(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """The same function and shapes as `explicit_attention`, without ever storing all the scores
    (Dao et al., "FlashAttention", 2022)."""
    keys, values = (_for_each_query(part, queries) for part in (keys, values))
    n_queries, n_keys = queries.shape[-2], keys.shape[-2]
    # The library's own causal mask aligns the first query with the first key; a single last query needs none.
    if visible is None and 1 < n_queries < n_keys:
        visible = causal_mask(n_queries, n_keys, queries.device)
    if visible is None and n_queries == n_keys:
        return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible, dropout_p=dropout)


def _for_each_query(heads: Tensor, queries: Tensor) -> Tensor:
    """heads [batch, n_kv_heads, n_keys, head_width] -> [batch, n_heads, n_keys, head_width], themselves where there are
    as many."""
    shared_by = queries.shape[-3] // heads.shape[-3]
    return heads if shared_by == 1 else heads.repeat_interleave(shared_by, dim=-3)


Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]

ATTENTION: dict[str, Attention] = {"explicit": explicit_attention, "fused": fused_attention}


class Layout(Protocol):
    """Where positions see more, or others, than those before them in their row: gptsmith.model.kv_cache,
    gptsmith.model.shared_beginning."""

    def attend(self, attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """queries [batch, n_heads, length, head_width], keys and values [batch, n_kv_heads, length, head_width];
        `attention` as in `explicit_attention`."""
        ...


class MultiHeadSelfAttention(nn.Module):
    """Queries, keys and values by one projection, attention in every head, and a projection back."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        d_model, kv_width = architecture.d_model, architecture.kv_width
        self.widths = (d_model, kv_width, kv_width)
        self.head_width = architecture.head_width
        self.n_kv_heads = architecture.kv_heads
        self.attend = ATTENTION[architecture.attention]
        self.attends_to_all = architecture.attends_to_all
        self.qkv = nn.Linear(d_model, sum(self.widths), bias=architecture.bias)
        self.projection = nn.Linear(d_model, d_model, bias=architecture.bias)
        self.attention_dropout = nn.Dropout(0.0)
        self.residual_dropout = nn.Dropout(0.0)

    def forward(self, hidden: Tensor, rotation: Rotation | None, layout: Layout | None = None) -> Tensor:
        """hidden [batch, length, d_model] -> [batch, length, d_model].

        rotation: of the positions, where the model has rotary ones. Without a `layout`, every position sees those
        before it in its row, and itself.
        """
        queries, keys, values = (self._split_heads(part) for part in self.qkv(hidden).split(self.widths, dim=-1))
        if rotation is not None:
            queries, keys = rotation.turn(queries), rotation.turn(keys)
        dropout = self.attention_dropout.p if self.training else 0.0
        if layout is None:
            mixed = self.attend(queries, keys, values, None, dropout)
        else:
            mixed = layout.attend(self.attend, queries, keys, values, dropout)
        return self.residual_dropout(self.projection(mixed.transpose(1, 2).flatten(start_dim=-2)))

    def forward_at(self, hidden: Tensor, rotation: Rotation | None, positions: Tensor) -> Tensor:
        """hidden [batch, length, d_model], positions [batch] -> [batch, d_model]: what `forward` gives
        at one position a row.

        One query a head needs no value of its own at every position: with the hidden state x_t at position t, and the
        values W_V x_t + b_V,

            sum_t a_t (W_V x_t + b_V)    = W_V (sum_t a_t x_t) + b_V sum_t a_t

        and W_V is applied once a row instead of once a position. Only of a softmax over all positions before is that
        known; any other attention takes the plain path.
        """
        if not self.attends_to_all:
            return self.forward(hidden, rotation)[torch.arange(len(hidden), device=hidden.device), positions]
        query_weight, key_weight, value_weight = self.qkv.weight.split(self.widths)
        query_bias, key_bias, value_bias = (
            (None, None, None) if self.qkv.bias is None else self.qkv.bias.split(self.widths)
        )
        here = hidden[torch.arange(len(hidden), device=hidden.device), positions]
        queries = functional.linear(here, query_weight, query_bias).unflatten(-1, (-1, self.head_width))
        if rotation is None:
            scores = self._scores(queries, hidden, key_weight)
        else:
            keys = rotation.turn(self._split_heads(functional.linear(hidden, key_weight, key_bias)))
            queries = rotation.turn_at(queries, positions)
            scores = (self._by_kv_head(queries) @ keys.transpose(-2, -1)).flatten(1, 2)
        visible = torch.arange(hidden.shape[1], device=hidden.device) <= positions[:, None]
        scores = scores / math.sqrt(self.head_width)
        weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(dim=-1)
        weights = self.attention_dropout(weights)
        values = torch.einsum(
            "bkgd,kwd->bkgw", self._by_kv_head(weights @ hidden), value_weight.unflatten(0, (self.n_kv_heads, -1))
        )
        if value_bias is not None:
            total = self._by_kv_head(weights.sum(dim=-1, keepdim=True))
            values = values + total * value_bias.unflatten(0, (self.n_kv_heads, 1, -1))
        return self.residual_dropout(self.projection(values.flatten(start_dim=1)))

    def _scores(self, queries: Tensor, hidden: Tensor, key_weight: Tensor) -> Tensor:
        """queries [batch, n_heads, head_width], hidden [batch, length, d_model] -> [batch, n_heads, length], not yet
        scaled, with no key at all where keys are not turned: with the keys W_K x_t + b_K,

            q . (W_K x_t + b_K)          = (W_K^T q) . x_t + a constant, which softmax does not see
        """
        weight = key_weight.unflatten(0, (self.n_kv_heads, -1))
        queries_on_hidden = torch.einsum("bkgw,kwd->bkgd", self._by_kv_head(queries), weight)
        return queries_on_hidden.flatten(1, 2) @ hidden.transpose(1, 2)

    def _split_heads(self, x: Tensor) -> Tensor:
        """[batch, length, heads x head_width] -> [batch, heads, length, head_width], a view."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def _by_kv_head(self, x: Tensor) -> Tensor:
        """[batch, n_heads, ...] -> [batch, n_kv_heads, heads that share one, ...], a view."""
        return x.unflatten(1, (self.n_kv_heads, -1))
