"""Dividing rows, or one long document, into train, validation and test."""

import math
from fractions import Fraction

import numpy as np

from gptsmith.config.datasets import Split
from gptsmith.data.prepared import SPLITS


def by_stratum(rows: np.ndarray, strata: np.ndarray) -> list[np.ndarray]:
    """The rows of each stratum that has any, in order; the strata ascending. Shapes as in `stratified_split`."""
    found = strata[rows]
    order = np.argsort(found, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(found[order])) + 1) if len(rows) else []


def stratified_split(rows: np.ndarray, strata: np.ndarray, split: Split, generator: np.random.Generator) -> np.ndarray:
    """Give every stratum's rows to the splits by the same shares.

    `rows` (any length, int64, ascending) are the rows to divide; `strata` (rows of the file, integers) holds the
    stratum of every row of the file. Returns (rows of the file, int8): which of SPLITS each row is in, or -1.

    A split gets a stratum's share rounded down or up. Who gets the rows left over by rounding down is settled by
    largest remainder, and what a split is owed or ahead carries over to the next stratum: even of many small strata
    the small splits get their part.
    """
    shares = _exact_shares(split)
    owed = dict.fromkeys(SPLITS, Fraction(0))
    assigned = np.full(len(strata), -1, np.int8)
    for members in by_stratum(rows, strata):
        shuffled = generator.permutation(members)
        quotas = {name: share * len(shuffled) for name, share in shares.items()}
        counts = {name: math.floor(quota) for name, quota in quotas.items()}
        left_over = len(shuffled) - sum(counts.values())
        for name in SPLITS:
            owed[name] += quotas[name] - counts[name]
        rounded = [name for name in SPLITS if counts[name] < quotas[name]]
        for name in sorted(rounded, key=lambda name: -owed[name])[:left_over]:
            counts[name] += 1
            owed[name] -= 1
        assigned[shuffled] = np.repeat(np.arange(len(SPLITS), dtype=np.int8), [counts[name] for name in SPLITS])
    return assigned


def cut_document(text: str, split: Split) -> dict[str, str]:
    """Cut one document in order, each time at the line end nearest to where the shares say.

    The pieces joined are the text. A document of few lines can leave a split with "".
    """
    pieces = {}
    start, until = 0, Fraction(0)
    for name, share in _exact_shares(split).items():
        until += share
        end = start
        if share and start < len(text):
            wanted = math.floor(until * len(text))
            before = text.rfind("\n", start, wanted) + 1
            after = text.find("\n", max(start, wanted)) + 1 or len(text)
            ends = [before, after] if before else [after]
            end = min(ends, key=lambda end: abs(end - until * len(text)))
        pieces[name] = text[start:end]
        start = end
    return pieces


def _exact_shares(split: Split) -> dict[str, Fraction]:
    # Fractions of the decimals as written: 0.7 of 10 rows is 7, on every machine.
    shares = {name: Fraction(str(getattr(split, name))) for name in SPLITS}
    return {name: share / sum(shares.values()) for name, share in shares.items()}
