"""Tokens and their places, as vectors."""

import torch
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture


class Embeddings(nn.Module):
    """Sum of a learned vector per token and a learned vector per position."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.token = _embedding(architecture.vocab_size, architecture.d_model)
        self.position = _embedding(architecture.context_length, architecture.d_model)
        self.dropout = nn.Dropout(0.0)

    def forward(self, input_ids: Tensor, start: int = 0) -> Tensor:
        """input_ids [batch, length], the first of them at position `start` -> [batch, length, d_model].

        Raises ValueError for positions that the model has no embedding for.
        """
        stop = start + input_ids.shape[1]
        if stop > self.position.num_embeddings:
            raise ValueError(f"{stop} positions, but the context length is {self.position.num_embeddings}")
        return self.dropout(self.token(input_ids) + self.position.weight[start:stop])


def _embedding(n: int, width: int) -> nn.Embedding:
    # Without nn.Embedding's random start: drawing normal numbers on the meta device, where models are built before
    # they get their weights, imports torch._dynamo, which takes far longer than all the loading.
    return nn.Embedding.from_pretrained(torch.empty(n, width), freeze=False)
