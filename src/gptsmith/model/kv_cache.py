"""Keys and values of the positions already seen, so that generating a token costs one position's work."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gptsmith.config.architecture import Architecture
from gptsmith.model.attention import Attention


class LayerCache:
    """One block's keys and values, in memory taken once: on the device and in the precision of the first ones."""

    def __init__(self, batch: int, longest: int) -> None:
        self.batch = batch
        self.longest = longest
        self.length = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values [rows, n_heads, length, head_width]; return all so far of these rows, as views.

        rows: the batch, or 1 while every row of the batch holds the same.
        """
        rows, n_heads, length, head_width = keys.shape
        if self.length == 0:
            shape = (self.batch, n_heads, self.longest, head_width)
            self.keys, self.values = keys.new_empty(shape), values.new_empty(shape)
        stop = self.length + length
        self.keys[:, :, self.length : stop] = keys
        self.values[:, :, self.length : stop] = values
        self.length = stop
        return self.keys[:rows, :, :stop], self.values[:rows, :, :stop]

    def attend(self, attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """The positions at hand follow those held, see them, and are held from now on."""
        return attention(queries, *self.extend(keys, values), None, dropout)

    def keep(self, n_rows: int, places: Tensor, rows: Tensor) -> None:
        """Go on with the first `n_rows`, after `rows` have been copied to `places`."""
        for cached in (self.keys, self.values):
            cached[places, :, : self.length] = cached[rows, :, : self.length]
        self.keys, self.values = self.keys[:n_rows], self.values[:n_rows]


class KeyValueCache:
    """A `LayerCache` for every block of a model."""

    def __init__(self, architecture: Architecture, batch: int, length: int) -> None:
        """Room for `batch` rows of up to `length` positions."""
        self.layers = [LayerCache(batch, length) for _ in range(architecture.n_layers)]

    @property
    def length(self) -> int:
        """Positions held so far."""
        return self.layers[0].length

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; the others are forgotten. Only rows that change
        their place are copied."""
        moved = [(place, row) for place, row in enumerate(rows) if place != row]
        places, sources = torch.tensor(moved, device=self.layers[0].keys.device).reshape(-1, 2).long().unbind(dim=1)
        for layer in self.layers:
            layer.keep(len(rows), places, sources)
