"""Percentile bootstrap over test items (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
section 13.3).

A resample of n items, drawn with replacement, is the same as a weight for each item: how often it was
drawn. Every metric is therefore a function of item weights, which computes many resamples at once by
sums and matrix products, and the value on the test set itself by weights of one.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptsmith.config.evaluation import Evaluation

Array = NDArray[np.float64]

Statistic = Callable[[Array], dict[str, Array]]
"""Weights [resamples, items] -> the value of each metric [resamples], NaN where it is undefined."""

_CELLS_AT_ONCE = 2**20  # resamples x items held at a time: a metric needs some ten such arrays of 8 MB


@dataclass(frozen=True)
class Estimate:
    """A metric on the test items and on every resample of them; NaN where it is undefined."""

    value: float
    resampled: Array

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The paired difference: both sides must be about the same items in the same order."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval over the resamples where the metric is defined; NaNs when there are none."""
        defined = self.resampled[~np.isnan(self.resampled)]
        if not defined.size:
            return math.nan, math.nan
        with np.errstate(invalid="ignore"):  # between two infinities
            low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


Estimates = dict[str, Estimate]
"""Metric -> estimate."""


def bootstrap(statistic: Statistic, n_items: int, settings: Evaluation) -> Estimates:
    """Estimate every metric of `statistic`. Equal `n_items` and settings give the same resamples, so
    estimates of several models on the same items can be subtracted and averaged."""
    values = on_all_items(statistic, n_items)
    chunks = [statistic(weights) for weights in _resamples(n_items, settings)]
    return {name: Estimate(value, np.concatenate([chunk[name] for chunk in chunks])) for name, value in values.items()}


def on_all_items(statistic: Statistic, n_items: int) -> dict[str, float]:
    """The metrics of the items as they are."""
    return {name: float(value[0]) for name, value in statistic(np.ones((1, n_items))).items()}


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over models (one a seed) on the same items; every resample is the same for all of them."""
    value = float(np.mean([estimate.value for estimate in estimates]))
    return Estimate(value, np.mean([estimate.resampled for estimate in estimates], axis=0))


def mean_estimates(models: Collection[Estimates]) -> Estimates:
    """The mean of each metric over models, as `mean_estimate`."""
    return {metric: mean_estimate([estimates[metric] for estimates in models]) for metric in next(iter(models))}


def described(estimates: Estimates, value: str, confidence: float) -> dict[str, dict[str, Any]]:
    """Each estimate as {<value>: ..., "low": ..., "high": ...}."""
    numbers = {}
    for name, estimate in estimates.items():
        low, high = estimate.interval(confidence)
        numbers[name] = {value: estimate.value, "low": low, "high": high}
    return numbers


def over_seeds(by_seed: Mapping[int, Estimates], confidence: float) -> dict[str, dict[str, Any]]:
    """Each metric as {mean, low, high, standard_deviation, by_seed}; the standard deviation of one seed is None."""
    found: dict[str, dict[str, Any]] = described(mean_estimates(list(by_seed.values())), "mean", confidence)
    for metric, numbers in found.items():
        values = {str(seed): estimates[metric].value for seed, estimates in by_seed.items()}
        numbers["standard_deviation"] = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None
        numbers["by_seed"] = values
    return found


def flat_metrics(split: str, estimates: Estimates, confidence: float) -> dict[str, float]:
    """Keys <split>_<metric>, <split>_<metric>_low and <split>_<metric>_high."""
    metrics: dict[str, float] = {}
    for name, estimate in estimates.items():
        low, high = estimate.interval(confidence)
        metrics |= {f"{split}_{name}": estimate.value, f"{split}_{name}_low": low, f"{split}_{name}_high": high}
    return metrics


def null_where_undefined(value: Any) -> Any:
    """The same JSON value with null for numbers that JSON does not have (NaN: undefined; infinity)."""
    if isinstance(value, dict):
        return {key: null_where_undefined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [null_where_undefined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _resamples(n_items: int, settings: Evaluation) -> Iterator[Array]:
    """Weights [some resamples, items] until all are drawn; each row adds up to `n_items`."""
    generator = np.random.default_rng(settings.seed)
    rows_at_once = max(1, _CELLS_AT_ONCE // n_items)
    for done in range(0, settings.bootstrap_samples, rows_at_once):
        rows = min(rows_at_once, settings.bootstrap_samples - done)
        drawn = generator.integers(n_items, size=(rows, n_items))
        drawn += n_items * np.arange(rows)[:, None]  # one bincount for all rows: each has its own range
        yield np.bincount(drawn.ravel(), minlength=rows * n_items).reshape(rows, n_items).astype(np.float64)
