"""How the next token is chosen from its logits: small functions on logits [batch, vocab_size] that compose.

A token that may not be chosen gets the logit minus infinity.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gptsmith.config.generation import Generation

NUCLEUS = 1024
"""The nuclei of top-p are looked for among this many most probable tokens before all of them."""


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
    (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, section 3.1). Of equals, the first."""
    total = logits.double().logsumexp(dim=-1, keepdim=True)
    # Sorting the vocabulary takes longer than a small model needs for a token, and most nuclei are small.
    for k in (min(NUCLEUS, logits.shape[-1]), logits.shape[-1]):
        largest = logits.topk(k).values
        probabilities = (largest.double() - total).exp()
        more_probable = probabilities.cumsum(dim=-1) - probabilities
        n_kept = (more_probable < p).sum(dim=-1, keepdim=True)
        if (n_kept < k).all():
            break
    smallest_kept = largest.gather(-1, n_kept - 1)
    above, equal = logits > smallest_kept, logits == smallest_kept
    first_equals = equal & (equal.cumsum(dim=-1) <= n_kept - above.sum(dim=-1, keepdim=True))
    return logits.masked_fill(~(above | first_equals), -torch.inf)


def sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [batch] with the probabilities softmax(logits): the inverse of the cumulative distribution
    at uniform [batch] in [0, 1). The same numbers give the same tokens on every device."""
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    threshold = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
