"""Texts that are nearly equal: copies with another name, number or signature in them.

Two texts are as similar as their sets of five bytes in a row (lower case, white space as one space) overlap: the size
of what they share over the size of both (Jaccard). MinHash (Broder, "On the resemblance and containment of documents",
1997) estimates it from 128 numbers a text, here with a standard error of at most 0.04, and bands of them find the
candidates (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).
"""

import zlib
from collections.abc import Iterable

import numpy as np

SIMILARITY = 0.8
SHINGLE_BYTES = 5
# 16 bands of 8: of pairs that are 0.8 similar 95 of 100 are found, of pairs that are 0.9 similar all but 1 in 10,000.
BANDS, NUMBERS_PER_BAND = 16, 8


def find_near_duplicates(texts: Iterable[tuple[int, str]], n_rows: int) -> np.ndarray:
    """(n_rows,) int64: for each row an earlier one whose text is nearly the same, -1 where there is none.

    `texts` are numbers of rows and their texts, in order. Rows that have an earlier one stand for nothing: what is
    similar to them alone is none. Memory holds about seven kilobytes for each row that has none.
    """
    # Here, because it brings scipy, which would cost each dataset that wants none of this half a second.
    from datasketch import MinHash, MinHashLSH

    empty = MinHash(num_perm=BANDS * NUMBERS_PER_BAND, hashfunc=zlib.crc32)
    index = MinHashLSH(params=(BANDS, NUMBERS_PER_BAND), num_perm=BANDS * NUMBERS_PER_BAND)
    signatures: dict[int, np.ndarray] = {}
    similar = np.full(n_rows, -1, np.int64)
    for row, text in texts:
        signature = empty.copy()
        signature.update_batch(_shingles(text))
        candidates = sorted(index.query(signature))
        alike = (other for other in candidates if np.mean(signatures[other] == signature.hashvalues) >= SIMILARITY)
        if (earlier := next(alike, None)) is not None:
            similar[row] = earlier
        else:
            index.insert(row, signature, check_duplication=False)
            signatures[row] = signature.hashvalues.astype(np.uint32)
    return similar


def _shingles(text: str) -> set[bytes]:
    data = " ".join(text.lower().split()).encode()
    return {data[start : start + SHINGLE_BYTES] for start in range(max(1, len(data) - SHINGLE_BYTES + 1))}
