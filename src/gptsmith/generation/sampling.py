"""How the next token is chosen from its logits: small functions on logits [batch, vocab_size] that compose.

A token that may not be chosen gets the logit minus infinity.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gptsmith.config.generation import Generation


def choose(logits: Tensor, settings: Generation, random: Sequence[np.random.Generator]) -> Tensor:
    """logits [batch, vocab_size], one source of chance a row -> tokens [batch]."""
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    if logits.device.type == "mps":
        logits = logits.cpu()  # Apple's GPUs have no float64, which `sample` needs
    logits = logits.float() / settings.temperature
    if settings.top_k is not None:
        logits = keep_top_k(logits, settings.top_k)
    if settings.top_p is not None:
        logits = keep_top_p(logits, settings.top_p)
    return sample(logits, torch.tensor([row.random() for row in random], dtype=torch.float64, device=logits.device))


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Only the k largest logits of each row (Fan et al., "Hierarchical Neural Story Generation", 2018,
    section 5.1), and whatever equals the smallest of them."""
    smallest_kept = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < smallest_kept, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Only the nucleus of each row: the fewest most probable tokens whose probabilities add up to at least p
    (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, section 3.1)."""
    descending, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = descending.double().softmax(dim=-1)
    more_probable = probabilities.cumsum(dim=-1) - probabilities
    outside = torch.empty_like(order, dtype=torch.bool).scatter(-1, order, more_probable >= p)
    return logits.masked_fill(outside, -torch.inf)


def sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [batch] with the probabilities softmax(logits): the inverse of the cumulative distribution
    at uniform [batch] in [0, 1). The same numbers give the same tokens on every device."""
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    threshold = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
