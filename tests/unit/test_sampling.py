import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptsmith.config.generation import Generation
from gptsmith.generation import sampling
from gptsmith.generation.sampling import choose, keep_top_k, keep_top_p, sample

# Multiples of 1/4, so that ties are common and sums exact.
ROWS = st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=12)


def kept(logits: torch.Tensor) -> set[int]:
    return set(torch.isfinite(logits[0]).nonzero().flatten().tolist())


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(logit) for logit in row]
    return [exponential / sum(exponentials) for exponential in exponentials]


@given(ROWS, st.integers(1, 15))
def test_top_k_keeps_what_fewer_than_k_exceed(row: list[float], k: int) -> None:
    expected = {token for token, logit in enumerate(row) if sum(other > logit for other in row) < k}
    assert kept(keep_top_k(torch.tensor([row]), k)) == expected


@given(ROWS, st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_that_has_the_probability(row: list[float], p: float) -> None:
    probabilities = softmax(row)
    expected, mass = set(), 0.0
    for token in sorted(range(len(row)), key=lambda token: (-row[token], token)):
        if mass >= p - 1e-9:  # nearer than that, rounding decides
            break
        expected.add(token)
        mass += probabilities[token]
    actual = kept(keep_top_p(torch.tensor([row], dtype=torch.float64), p))
    assert actual == expected or abs(sum(probabilities[token] for token in actual & expected) - p) < 1e-6


@pytest.mark.parametrize("nucleus", [1, 3, 6, 50, 1024])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99, 1.0])
def test_top_p_is_the_same_wherever_it_looks_first(nucleus: int, p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with a sort of the whole vocabulary, on rows from even to decided, with many ties."""
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(40, 50, generator=generator)).round() * torch.linspace(0, 1, 40)[:, None]
    logits[:, 7] = -torch.inf  # as top-k leaves it
    descending, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = descending.double().softmax(dim=-1)
    inside = probabilities.cumsum(dim=-1) - probabilities < p
    expected = logits.masked_fill(~torch.empty_like(inside).scatter(-1, order, inside), -torch.inf)
    monkeypatch.setattr(sampling, "NUCLEUS", nucleus)
    assert torch.equal(keep_top_p(logits, p), expected)


def test_rows_are_cut_independently() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [5.0, 0.0, 5.0]])
    assert keep_top_k(logits, 1).isfinite().tolist() == [[False, False, True], [True, False, True]]
    assert keep_top_p(logits, 0.45).isfinite().tolist() == [[False, False, True], [True, False, False]]


@given(ROWS, st.floats(0, 1, exclude_max=True))
def test_a_sample_is_where_the_cumulative_probability_passes_the_uniform_number(row: list[float], u: float) -> None:
    token = int(sample(torch.tensor([row]), torch.tensor([u], dtype=torch.float64)))
    probabilities = softmax(row)
    assert sum(probabilities[:token]) <= u + 1e-9
    assert sum(probabilities[: token + 1]) >= u - 1e-9


def test_tokens_that_are_cut_are_never_sampled() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    drawn = {int(sample(logits, torch.tensor([u], dtype=torch.float64))) for u in np.linspace(0, 1 - 2**-53, 101)}
    assert drawn == {1, 3}


def test_frequencies_are_the_probabilities() -> None:
    row = [0.0, 1.0, 2.0, -1.0]
    random = np.random.default_rng(0)
    settings = Generation(temperature=2.0)
    tokens = choose(torch.tensor([row] * 20_000), settings, [random] * 20_000)
    frequencies = torch.bincount(tokens, minlength=4) / 20_000
    expected = torch.tensor(softmax([logit / 2 for logit in row]))
    torch.testing.assert_close(frequencies, expected, atol=0.015, rtol=0)


@pytest.mark.parametrize("settings", [Generation(), Generation(temperature=1, top_k=1), Generation(temperature=1e-4)])
def test_greedy_and_its_limits_take_the_largest(settings: Generation) -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    random = [np.random.default_rng(row) for row in range(5)]
    assert torch.equal(choose(logits, settings, random), logits.argmax(dim=-1))
