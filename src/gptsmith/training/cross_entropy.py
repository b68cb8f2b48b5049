"""Cross-entropy of next tokens, without the logits of a whole batch in memory.

A batch of 8 texts of 1,024 tokens has 412 million logits over GPT-2's vocabulary: 1.6 GB, several times over for
softmax and gradients. They are made and used up for `POSITIONS_AT_ONCE` positions at a time instead. The
gradient of a position's loss is softmax(logits) - one_hot(target), so it is at hand as soon as the loss is, and
nothing is computed twice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

POSITIONS_AT_ONCE = 1024


def token_cross_entropy(hidden: Tensor, output_embedding: Tensor, targets: Tensor) -> Tensor:
    """Sum over the positions of -log softmax(hidden @ output_embedding.T)[target], in nats.

    hidden [positions, d_model], output_embedding [vocab_size, d_model], targets int64 [positions] -> scalar.
    """
    if torch.is_grad_enabled():
        return _TokenCrossEntropy.apply(hidden, output_embedding, targets)
    parts = [
        functional.cross_entropy(_logits(part, output_embedding), part_targets, reduction="sum")
        for part, part_targets in _parts(hidden, targets)
    ]
    return torch.stack(parts).sum()


class _TokenCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, output_embedding: Tensor, targets: Tensor) -> Tensor:
        losses = []
        hidden_gradient, embedding_gradient = torch.empty_like(hidden), None
        for part, part_targets, part_gradient in _parts(hidden, targets, hidden_gradient):
            log_probabilities = _logits(part, output_embedding).log_softmax(dim=-1)
            chosen = part_targets[:, None]
            losses.append(-log_probabilities.gather(1, chosen).sum())
            gradient = log_probabilities.exp_()
            gradient.scatter_add_(1, chosen, gradient.new_full(chosen.shape, -1.0))
            part_gradient.copy_(gradient @ output_embedding)
            if ctx.needs_input_grad[1]:
                product = (gradient.T @ part).to(output_embedding.dtype)
                embedding_gradient = product if embedding_gradient is None else embedding_gradient.add_(product)
        ctx.save_for_backward(hidden_gradient, embedding_gradient)
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden_gradient, embedding_gradient = ctx.saved_tensors
        # In place: the embedding's gradient is as large as the embedding, and is asked for once.
        if embedding_gradient is not None:
            embedding_gradient.mul_(gradients[0])
        return hidden_gradient * gradients[0], embedding_gradient, None


def _logits(hidden: Tensor, output_embedding: Tensor) -> Tensor:
    """At least in float32: sums over a vocabulary need it."""
    logits = functional.linear(hidden, output_embedding)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(POSITIONS_AT_ONCE) for tensor in tensors), strict=True)
