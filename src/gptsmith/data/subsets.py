"""Parts of the training split, for learning curves."""

import numpy as np


def nested_subset(strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows (int64, ascending) of about `share` of every stratum, and at least one of each.

    strata (rows, integers): the stratum of every row; its class, or 0 for all. With the same seed the rows of a
    smaller share are among those of a larger one.
    """
    order = np.random.default_rng(seed).permutation(len(strata))
    members = [order[strata[order] == stratum] for stratum in np.unique(strata)]
    parts = [rows[: max(1, round(share * len(rows)))] for rows in members]
    return np.sort(np.concatenate([order[:0], *parts]))
