"""Rows that begin with the same tokens, as a template's prompts do, without computing those more than once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gptsmith.model.attention import Attention


@dataclass(frozen=True)
class SharedBeginning:
    """A batch as one long row: the shared beginning, and after it what is left of one row after the other.

    To all but the attention a position's place in it makes no difference.
    """

    n_shared: int
    rows: int

    def attend(self, attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """All [1, n_heads, n_shared + rows x rest, head_width]: each row sees the beginning and itself."""
        first_queries, first_keys, first_values = (part[:, :, : self.n_shared] for part in (queries, keys, values))
        rest_queries, rest_keys, rest_values = (
            self._rows(part[0, :, self.n_shared :]) for part in (queries, keys, values)
        )
        all_keys = torch.cat([first_keys.expand(self.rows, -1, -1, -1), rest_keys], dim=2)
        all_values = torch.cat([first_values.expand(self.rows, -1, -1, -1), rest_values], dim=2)
        first = attention(first_queries, first_keys, first_values, None, dropout)
        rest = attention(rest_queries, all_keys, all_values, None, dropout)
        return torch.cat([first, rest.transpose(0, 1).flatten(1, 2)[None]], dim=2)

    def _rows(self, part: Tensor) -> Tensor:
        """[n_heads, rows x rest, head_width] -> [rows, n_heads, rest, head_width]"""
        return part.unflatten(1, (self.rows, -1)).transpose(0, 1)
