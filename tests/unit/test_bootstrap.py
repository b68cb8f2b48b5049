"""Intervals: do they cover, are differences paired, what is left where a metric is undefined."""

import math

import numpy as np
import pytest

from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.bootstrap import Array, Estimate, Statistic, bootstrap, mean_estimate, null_where_undefined


def mean_of(values: Array) -> Statistic:
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def estimate_mean(values: Array, settings: Evaluation | None = None) -> Estimate:
    return bootstrap(mean_of(values), len(values), settings or Evaluation())["mean"]


def test_weights_are_draws_with_replacement_in_every_chunk() -> None:
    seen: list[Array] = []

    def record(weights: Array) -> dict[str, Array]:
        seen.append(weights)
        return {"distinct": (weights > 0).mean(axis=1)}

    n_items, settings = 1500, Evaluation(bootstrap_samples=1501)
    estimate = bootstrap(record, n_items, settings)["distinct"]
    assert len(seen) > 3  # the items as they are, then chunks
    assert (seen[0] == 1).all()
    assert all((weights.sum(axis=1) == n_items).all() for weights in seen)
    assert estimate.resampled.shape == (settings.bootstrap_samples,)
    assert len(set(estimate.resampled)) > 50  # the chunks are not one resample over and over
    assert estimate.resampled.mean() == pytest.approx(1 - 1 / math.e, abs=1e-3)  # Efron's 0.632


def test_interval_of_a_mean_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=400)
    estimate = estimate_mean(values)
    standard_error = values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.interval(0.95) == pytest.approx(values.mean() + standard_error * np.array([-1.96, 1.96]), abs=0.02)
    assert estimate.interval(0.5) == pytest.approx(values.mean() + standard_error * np.array([-0.674, 0.674]), abs=0.02)


def test_intervals_cover_the_true_value_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        outcomes = (generator.random(120) < 0.8).astype(np.float64)
        low, high = estimate_mean(outcomes, Evaluation(bootstrap_samples=300, confidence=0.9)).interval(0.9)
        covered += low <= 0.8 <= high
    assert 0.85 < covered / 300 < 0.95


def test_seed_decides_the_resamples() -> None:
    values = np.random.default_rng(0).random(50)
    first, again = estimate_mean(values), estimate_mean(values)
    other = estimate_mean(values, Evaluation(seed=124))
    assert (first.resampled == again.resampled).all()
    assert (first.resampled != other.resampled).any()


def test_differences_are_paired_by_item() -> None:
    generator = np.random.default_rng(2)
    difficulty = generator.normal(0, 10, size=300)  # items differ much more than the two models do
    ours, theirs = difficulty + 1 + generator.normal(0, 0.5, size=300), difficulty
    paired = estimate_mean(ours) - estimate_mean(theirs)
    unpaired = estimate_mean(ours) - estimate_mean(theirs, Evaluation(seed=9))
    assert paired.value == pytest.approx((ours - theirs).mean())
    assert paired.interval(0.95) == pytest.approx(estimate_mean(ours - theirs).interval(0.95))
    assert paired.interval(0.95)[0] > 0
    assert unpaired.interval(0.95)[0] < 0
    assert (estimate_mean(ours) - estimate_mean(ours)).interval(0.95) == (0, 0)


def test_mean_of_models_shares_the_resamples() -> None:
    generator = np.random.default_rng(3)
    seeds = [generator.random(80) for _ in range(3)]
    together = mean_estimate([estimate_mean(values) for values in seeds])
    by_item = estimate_mean(np.mean(seeds, axis=0))
    assert together.value == pytest.approx(by_item.value)
    assert together.resampled == pytest.approx(by_item.resampled)


def test_undefined_resamples_are_left_out() -> None:
    def share_of_first_among_first_two(weights: Array) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):
            return {"share": weights[:, 0] / (weights[:, 0] + weights[:, 1])}

    estimate = bootstrap(share_of_first_among_first_two, 4, Evaluation())["share"]
    undefined = np.isnan(estimate.resampled).mean()
    assert undefined == pytest.approx(1 / 16, abs=0.02)  # (2/4)^4: neither was drawn
    assert estimate.interval(0.95) == (0, 1)


def test_no_interval_where_nothing_is_defined() -> None:
    estimate = bootstrap(lambda weights: {"never": np.full(len(weights), np.nan)}, 5, Evaluation())["never"]
    assert null_where_undefined({"interval": list(estimate.interval(0.95)), "value": estimate.value}) == {
        "interval": [None, None],
        "value": None,
    }


def test_one_item_has_an_interval_of_no_width() -> None:
    estimate = estimate_mean(np.array([0.25]))
    assert (estimate.value, *estimate.interval(0.95)) == (0.25, 0.25, 0.25)
