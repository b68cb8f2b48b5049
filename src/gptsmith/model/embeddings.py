"""Tokens and their places, as vectors."""

import torch
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture


class Embeddings(nn.Module):
    """A learned vector per token, and added to it a learned one per position where positions are learned."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.token = _embedding(architecture.vocab_size, architecture.d_model)
        learned = architecture.position == "learned"
        self.position = _embedding(architecture.context_length, architecture.d_model) if learned else None
        self.context_length = architecture.context_length
        self.dropout = nn.Dropout(0.0)

    def forward(self, input_ids: Tensor, start: int = 0) -> Tensor:
        """input_ids [batch, length], the first of them at position `start` -> [batch, length, d_model].

        Raises ValueError for positions beyond the context length.
        """
        stop = start + input_ids.shape[1]
        if stop > self.context_length:
            raise ValueError(f"{stop} positions, but the context length is {self.context_length}")
        embedded = self.token(input_ids)
        return self.dropout(embedded if self.position is None else embedded + self.position.weight[start:stop])


def _embedding(n: int, width: int) -> nn.Embedding:
    # Without nn.Embedding's random start: drawing normal numbers on the meta device, where models are built before
    # they get their weights, imports torch._dynamo, which takes far longer than all the loading.
    return nn.Embedding.from_pretrained(torch.empty(n, width), freeze=False)
