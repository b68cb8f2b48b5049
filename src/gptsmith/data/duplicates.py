"""Which rows have equal texts, told by 16 bytes a row.

Equal texts have equal digests. That two different texts of a billion have the same BLAKE2b digest of 128 bits
has a probability of 10^-21, so rows of equal digests are taken for duplicates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np
import pyarrow as pa

from gptsmith.data.prepared import SPLITS

DIGEST_BYTES = 16


def digest(*texts: str) -> bytes:
    """16 bytes of a row's texts (NUL is in none, so it can stand between them)."""
    return blake2b("\0".join(texts).encode(), digest_size=DIGEST_BYTES).digest()


def as_numbers(digests: pa.FixedSizeBinaryArray) -> np.ndarray:
    """(rows, 2) uint64."""
    return np.frombuffer(digests.buffers()[1], np.uint64).reshape(-1, 2)[digests.offset :][: len(digests)]


@dataclass(frozen=True, eq=False)
class EqualRows:
    """The rows sorted so that equal ones are neighbours."""

    order: np.ndarray
    """(rows,) int64: the rows; equal ones in the order of the file."""
    starts: np.ndarray
    """(distinct rows,) int64: where in `order` each group of equal rows begins."""


def find_equal_rows(digests: np.ndarray) -> EqualRows:
    """`digests` is (rows, 2) uint64."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    is_new = np.zeros(len(order), bool)
    is_new[:1] = True
    for half in digests.T:
        found = half[order]
        is_new[1:] |= found[1:] != found[:-1]
    return EqualRows(order, np.flatnonzero(is_new))


def first_occurrences(equal: EqualRows) -> np.ndarray:
    """(distinct rows,) int64, ascending: the rows that no earlier one is equal to."""
    return np.sort(equal.order[equal.starts])


def count_conflicts(equal: EqualRows, labels: np.ndarray) -> int:
    """Number of distinct texts that occur with more than one label; `labels` is (rows,)."""
    found = labels[equal.order]
    lowest, highest = (extreme.reduceat(found, equal.starts) for extreme in (np.minimum, np.maximum))
    return int(np.count_nonzero(lowest != highest))


def count_overlaps(equal: EqualRows, assigned: np.ndarray) -> dict[str, int]:
    """Number of distinct texts that each pair of splits shares; `assigned` is as from `stratified_split`."""
    flags = np.left_shift(1, assigned, dtype=np.int8, where=assigned >= 0, out=np.zeros_like(assigned))
    present = np.bitwise_or.reduceat(flags[equal.order], equal.starts)
    return {
        f"{SPLITS[first]}/{SPLITS[second]}": int(np.count_nonzero(present >> first & present >> second & 1))
        for first, second in combinations(range(len(SPLITS)), 2)
    }


def digests_of(rows: Iterable[tuple[str, ...]]) -> np.ndarray:
    """(rows, 2) uint64."""
    return as_numbers(pa.array([digest(*texts) for texts in rows], pa.binary(DIGEST_BYTES)))
