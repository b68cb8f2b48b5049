"""Near duplicates among the rows of a dataset: looked for, left out and reported, as its settings say."""

import itertools
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from gptsmith.config.datasets import ClassificationDataset, InstructionDataset
from gptsmith.data.mechanical import Item
from gptsmith.data.near_duplicates import SIMILARITY, find_near_duplicates
from gptsmith.data.parts import QUESTION, read_parts
from gptsmith.data.prepared import SPLITS


def near_copies(
    parts: Sequence[Path],
    dataset: ClassificationDataset | InstructionDataset,
    distinct: np.ndarray,
    n_rows: int,
    generated: Sequence[Item] = (),
) -> np.ndarray | None:
    """As from `find_near_duplicates`, among the rows `distinct` of the `n_rows` and what was `generated`, which follows
    them; None where the dataset ignores them."""
    if dataset.near_duplicates == "ignore":
        return None
    chosen = np.zeros(n_rows, bool)
    chosen[distinct] = True
    drawn = (f"{item.instruction}\n{item.input}" for item in generated)
    texts = itertools.chain(_questions(parts, dataset.task, chosen), enumerate(drawn, n_rows))
    return find_near_duplicates(texts, n_rows + len(generated))


def without_near_copies(
    rows: np.ndarray, near: np.ndarray | None, dataset: ClassificationDataset | InstructionDataset, n_given: int
) -> np.ndarray:
    """The `rows` that have no earlier near copy, where the dataset removes those that have; the first `n_given` of all,
    a given test split, stay as they are."""
    if near is None or dataset.near_duplicates != "remove":
        return rows
    return rows[(near[rows] < 0) | (rows < n_given)]


def dropped_near_copies(
    before: np.ndarray, after: np.ndarray, dataset: ClassificationDataset | InstructionDataset
) -> dict[str, int]:
    """The report's count of the rows that `without_near_copies` left out."""
    return {"near_duplicate": len(before) - len(after)} if dataset.near_duplicates == "remove" else {}


def near_copies_report(near: np.ndarray | None, assigned: np.ndarray) -> dict[str, Any]:
    """How many rows that were kept are nearly the same as an earlier one, of which splits the two are, and which
    training row a row of the other splits is nearly the same as."""
    if near is None:
        return {}
    rows = np.flatnonzero((near >= 0) & (assigned >= 0))
    rows = rows[assigned[near[rows]] >= 0]
    pairs = np.sort(np.stack([assigned[rows], assigned[near[rows]]]), axis=0)
    across = {
        f"{SPLITS[one]}/{SPLITS[other]}": int(np.count_nonzero((pairs[0] == one) & (pairs[1] == other)))
        for one, other in combinations(range(len(SPLITS)), 2)
    }
    in_train = {split: _copies_in_train(near, assigned, split) for split in ("validation", "test")}
    return {"near_duplicates": {"similarity": SIMILARITY, "rows": len(rows), "across": across, "in_train": in_train}}


def _questions(parts: Sequence[Path], task: str, chosen: np.ndarray) -> Iterator[tuple[int, str]]:
    """The number of each chosen row and what a model is given of it."""
    start = 0
    for batch in read_parts(parts, QUESTION[task]):
        texts = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        yield from ((row, "\n".join(text)) for row, text in enumerate(texts, start) if chosen[row])
        start += len(batch)


def _copies_in_train(near: np.ndarray, assigned: np.ndarray, split: str) -> dict[str, int]:
    """Id of each row of the split that is nearly the same as a training row, or as a row that a training row is nearly
    the same as too, and the id of the first such training row."""
    original = np.where(near >= 0, near, np.arange(len(near)))
    train = np.flatnonzero(assigned == SPLITS.index("train"))
    originals, first = np.unique(original[train], return_index=True)
    rows = np.flatnonzero(assigned == SPLITS.index(split))
    rows = rows[np.isin(original[rows], originals)]
    copies = train[first[np.searchsorted(originals, original[rows])]]
    return {str(row): int(copy) for row, copy in zip(rows, copies, strict=True)}
