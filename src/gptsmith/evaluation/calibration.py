"""Whether probabilities mean what they say: of answers given with 0.9, nine in ten should be right.

The confidence of an answer is the probability of the class that was answered. Confidences are put into ten bins of
equal width, as by Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2: bin m holds those above
(m - 1) / 10 up to m / 10.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptsmith.evaluation.bootstrap import Array, Statistic

BINS = 10
EDGES = np.arange(BINS + 1) / BINS
# Of no probability at all, where the logarithm is infinite; scikit-learn's is the same.
_LEAST_PROBABILITY = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Bin:
    """The answers with a confidence above `low` and up to `high`; at least one."""

    low: float
    high: float
    rows: int
    confidence: float
    """Their mean."""
    accuracy: float
    """The share of them that is right."""


def reliability(confidence: Array, is_right: NDArray[np.bool_]) -> list[Bin]:
    """The bins of a reliability diagram (DeGroot and Fienberg 1983), those without answers left out."""
    places = _bin_of(confidence)
    return [
        Bin(
            float(EDGES[place]),
            float(EDGES[place + 1]),
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(is_right[inside].mean()),
        )
        for place in range(BINS)
        if (inside := places == place).any()
    ]


def calibration_statistic(probabilities: Array, label: NDArray[np.intp], answer: NDArray[np.intp]) -> Statistic:
    """Of probabilities [items, classes], true and answered classes [items]:

    - `log_loss`: mean of -log of the true class's probability, in nats;
    - `brier_score`: mean squared difference between the probabilities and 0 or 1 (Brier 1950), summed over the classes,
      and with two classes, where both differences are the same, of one of them;
    - `calibration_error`: the expected calibration error (ECE; Naeini et al. 2015): the difference between mean
      confidence and accuracy in each bin, weighted by the bin's share of the items.
    """
    items, n_classes = np.arange(len(label)), probabilities.shape[1]
    losses = -np.log(np.maximum(probabilities[items, label], _LEAST_PROBABILITY))
    squares = ((probabilities - np.eye(n_classes)[label]) ** 2).sum(axis=1) / (2 if n_classes == 2 else 1)
    means = np.stack([losses, squares], axis=1)
    confidence = probabilities[items, answer]
    gaps = np.eye(BINS)[_bin_of(confidence)] * (confidence - (answer == label))[:, None]  # [items, bins]

    def statistic(weights: Array) -> dict[str, Array]:
        rows = weights.sum(axis=1)
        log_loss, brier_score = (weights @ means / rows[:, None]).T
        error = np.abs(weights @ gaps).sum(axis=1) / rows
        return {"log_loss": log_loss, "brier_score": brier_score, "calibration_error": error}

    return statistic


def _bin_of(confidence: Array) -> NDArray[np.intp]:
    return np.digitize(confidence, EDGES[1:-1], right=True)
