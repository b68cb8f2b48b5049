"""Dividing rows, or one long document, into train, validation and test."""

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from gptsmith.config.datasets import Split
from gptsmith.data.prepared import SPLITS


def stratified_split(
    rows: Sequence[int], strata: Sequence[str], split: Split, generator: np.random.Generator
) -> dict[str, list[int]]:
    """Give every stratum's rows to the splits by the same shares; each split keeps the order of `rows`.

    `strata` holds the stratum of every row of the file. A split gets a stratum's share rounded down or up.
    Who gets the rows left over by rounding down is settled by largest remainder, and what a split is owed
    or ahead carries over to the next stratum: even of many small strata the small splits get their part.
    """
    members = defaultdict(list)
    for row in rows:
        members[strata[row]].append(row)
    shares = _exact_shares(split)
    owed = dict.fromkeys(SPLITS, Fraction(0))
    chosen: dict[str, set[int]] = {name: set() for name in SPLITS}
    for stratum in sorted(members):
        shuffled = generator.permutation(members[stratum]).tolist()
        quotas = {name: share * len(shuffled) for name, share in shares.items()}
        counts = {name: math.floor(quota) for name, quota in quotas.items()}
        left_over = len(shuffled) - sum(counts.values())
        for name in SPLITS:
            owed[name] += quotas[name] - counts[name]
        rounded = [name for name in SPLITS if counts[name] < quotas[name]]
        for name in sorted(rounded, key=lambda name: -owed[name])[:left_over]:
            counts[name] += 1
            owed[name] -= 1
        remaining = iter(shuffled)
        for name in SPLITS:
            chosen[name].update(next(remaining) for _ in range(counts[name]))
    return {name: [row for row in rows if row in chosen[name]] for name in SPLITS}


def cut_document(text: str, split: Split) -> dict[str, str]:
    """Cut one document in order, each time at the line end nearest to where the shares say.

    The pieces joined are the text. A document of few lines can leave a split with "".
    """
    ends = [position + 1 for position, character in enumerate(text) if character == "\n"] + [len(text)]
    pieces = {}
    start, until = 0, Fraction(0)
    for name, share in _exact_shares(split).items():
        until += share
        end = start
        if share:
            end = min((end for end in ends if end > start), key=lambda end: abs(end - until * len(text)), default=start)
        pieces[name] = text[start:end]
        start = end
    return pieces


def _exact_shares(split: Split) -> dict[str, Fraction]:
    # Fractions of the decimals as written: 0.7 of 10 rows is 7, on every machine.
    shares = {name: Fraction(str(getattr(split, name))) for name in SPLITS}
    return {name: share / sum(shares.values()) for name, share in shares.items()}
