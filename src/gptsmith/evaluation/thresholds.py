"""From which probability on a text should be called positive: chosen on the validation split, then used on test.

Rare classes, class weights and overconfident models all move the best threshold away from 0.5 (Lipton, Elkan and
Naryanaswamy, "Optimal Thresholding of Classifiers to Maximize F1 Measure", 2014).
"""

import numpy as np
from numpy.typing import NDArray

from gptsmith.evaluation.bootstrap import Array


def best_threshold(is_positive: NDArray[np.bool_], score: Array, least_recall: float = 0.0) -> float | None:
    """The threshold of highest F1 when scores (0 to 1) at or above it count as positive, among those whose recall is at
    least `least_recall`; of equal ones the nearest to 0.5. None where no item is positive.

    It lies half-way between the last score that counts as positive and the next one.
    """
    n_positive = int(is_positive.sum())
    if not n_positive:
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # the last item of each score
    hits = np.cumsum(is_positive[order])[last]
    f1, recall = 2 * hits / (n_positive + last + 1), hits / n_positive
    lowest, below = score[order][last], np.append(score[order][last[1:]], 0.0)
    half_way = (lowest + below) / 2
    thresholds = np.where(half_way > below, half_way, lowest)  # nothing lies between neighbouring floats
    best = np.where(recall >= least_recall, f1, -1.0)
    candidates = thresholds[best == best.max()]
    return float(candidates[np.abs(candidates - 0.5).argmin()])
