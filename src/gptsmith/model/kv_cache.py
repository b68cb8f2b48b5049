"""Keys and values of the positions already seen, so that generating a token costs one position's work."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gptsmith.config.architecture import Architecture


class LayerCache:
    """One block's keys and values, in memory taken once."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        """shape: [batch, n_heads, longest length, head_width]."""
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values [batch, n_heads, length, head_width]; return all so far, as views."""
        stop = self.length + keys.shape[2]
        self.keys[:, :, self.length : stop] = keys
        self.values[:, :, self.length : stop] = values
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def keep(self, rows: Tensor) -> None:
        self.keys = _rows_moved_up(self.keys, rows, self.length)
        self.values = _rows_moved_up(self.values, rows, self.length)


def _rows_moved_up(cached: Tensor, rows: Tensor, length: int) -> Tensor:
    """`rows` of `cached`, inside the same memory; only the first `length` positions hold anything."""
    cached[: len(rows), :, :length] = cached[rows, :, :length]
    return cached[: len(rows)]


class KeyValueCache:
    """A `LayerCache` for every block of a model."""

    def __init__(
        self,
        architecture: Architecture,
        batch: int,
        length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Room for `batch` rows of up to `length` positions."""
        shape = (batch, architecture.n_heads, length, architecture.head_width)
        self.layers = [LayerCache(shape, torch.device(device), dtype) for _ in range(architecture.n_layers)]

    @property
    def length(self) -> int:
        """Positions held so far."""
        return self.layers[0].length

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; the others are forgotten."""
        indices = torch.tensor(rows, dtype=torch.int64, device=self.layers[0].keys.device)
        for layer in self.layers:
            layer.keep(indices)
