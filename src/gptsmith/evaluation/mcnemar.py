"""McNemar's test: whether two classifiers differ, by the items that only one of them gets right.

McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12 (1947), in its
exact form: if both are right equally often, such an item falls to either side like a coin. Of the tests for two
classifiers that Dietterich, "Approximate Statistical Tests" (1998), compared, it is the one to use where each was
trained once; it says nothing of how another training would turn out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


@dataclass(frozen=True)
class McNemar:
    only_first: int
    """Items that only the first classifier gets right."""
    only_second: int
    p_value: float
    """How likely a division at least as uneven is between equally good classifiers (two-sided)."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """From which of the same items each classifier gets right."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    different = only_first + only_second
    p_value = float(binomtest(only_first, different).pvalue) if different else 1.0
    return McNemar(only_first, only_second, p_value)
