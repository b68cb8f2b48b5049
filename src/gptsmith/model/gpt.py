"""The trunk of a GPT: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

    input_ids -> embeddings -> n_layers blocks -> normalisation -> last hidden state

What its parts are, the architecture says: GPT-2 is one setting of them, the Llama family another.

Heads that make something of the last hidden state are in gptsmith.model.heads.
"""

from typing import cast

import torch
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture
from gptsmith.model.block import TransformerBlock
from gptsmith.model.embeddings import Embeddings
from gptsmith.model.kv_cache import KeyValueCache
from gptsmith.model.normalization import new_norm
from gptsmith.model.rotary import rotation_at
from gptsmith.model.shared_beginning import SharedBeginning


class GPT(nn.Module):
    """Decoder-only transformer without a head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embeddings = Embeddings(architecture)
        self.blocks = nn.ModuleList(TransformerBlock(architecture) for _ in range(architecture.n_layers))
        self.final_norm = new_norm(architecture)

    def forward(self, input_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """input_ids int [batch, length] -> last hidden state [batch, length, d_model].

        With a cache, `input_ids` are the tokens after those it holds, and are added to it. A position
        sees only itself and those before it, so padding on the right changes nothing on its left.
        """
        start = cache.length if cache else 0
        hidden = self.embeddings(input_ids, start)
        rotation = rotation_at(_positions(hidden, start), self.architecture)
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, rotation, cache.layers[index] if cache else None)
        return self.final_norm(hidden)

    def lower(self, input_ids: Tensor, n_blocks: int) -> Tensor:
        """input_ids [batch, length] -> [batch, length, d_model] as it leaves the first `n_blocks` blocks."""
        hidden = self.embeddings(input_ids)
        rotation = rotation_at(_positions(hidden), self.architecture)
        for block in self.blocks[:n_blocks]:
            hidden = block(hidden, rotation)
        return hidden

    def upper(self, hidden: Tensor, n_blocks: int) -> Tensor:
        """The rest of `forward`, for `hidden` [batch, length, d_model] as `lower` left it after `n_blocks` blocks
        -> [batch, length, d_model]."""
        rotation = rotation_at(_positions(hidden), self.architecture)
        for block in self.blocks[n_blocks:]:
            hidden = block(hidden, rotation)
        return self.final_norm(hidden)

    def upper_shared(self, hidden: Tensor, n_blocks: int, n_shared: int) -> tuple[Tensor, Tensor]:
        """`upper` for rows that begin with the same `n_shared` tokens, which are computed for one row only:
        what follows cannot change them, because no position sees a later one.

        -> the beginning [1, n_shared, d_model], and the rest of every row [batch, length - n_shared, d_model].
        """
        rows, length, _ = hidden.shape
        beginning, rest = hidden[:1, :n_shared], hidden[:, n_shared:]
        packed = torch.cat([beginning, rest.reshape(1, rows * (length - n_shared), -1)], dim=1)
        positions = _positions(hidden)
        positions = torch.cat([positions[:n_shared], positions[n_shared:].repeat(rows)])
        rotation = rotation_at(positions, self.architecture)
        for block in self.blocks[n_blocks:]:
            packed = block(packed, rotation, SharedBeginning(n_shared, rows))
        packed = self.final_norm(packed)
        return packed[:, :n_shared], packed[0, n_shared:].unflatten(0, (rows, -1))

    def upper_at(self, hidden: Tensor, n_blocks: int, positions: Tensor) -> Tensor:
        """The rest of `forward` at one position a row, for `hidden` as `lower` left it after `n_blocks` blocks.

        positions [batch] -> [batch, d_model]. Of the last block, next to nothing is computed at the
        other positions.
        """
        if n_blocks == len(self.blocks):
            return self.final_norm(hidden[torch.arange(len(hidden), device=hidden.device), positions])
        rotation = rotation_at(_positions(hidden), self.architecture)
        for block in self.blocks[n_blocks:-1]:
            hidden = block(hidden, rotation)
        last = cast(TransformerBlock, self.blocks[-1])
        return self.final_norm(last.forward_at(hidden, rotation, positions))


def _positions(hidden: Tensor, start: int = 0) -> Tensor:
    """int [length] of hidden [batch, length, d_model], the first of them at `start`."""
    return torch.arange(start, start + hidden.shape[1], device=hidden.device)
