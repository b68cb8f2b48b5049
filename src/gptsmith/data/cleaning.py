"""What is done to texts and rows before they are split.

Texts are altered in two ways only: whitespace around them goes, and Windows line ends become `\\n`.
Nothing is lower-cased, normalised or corrected, so that a model meets what people wrote; two texts are
duplicates when they are equal after that.

Rows are meant by their number in the file, counted from 0.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gptsmith.data.readers import Rows
from gptsmith.errors import UserError


def clean(text: str) -> str:
    """Drop surrounding whitespace and turn `\\r\\n` into `\\n`."""
    return text.replace("\r\n", "\n").strip()


def clean_column(rows: Rows, column: str) -> list[str]:
    """The column's cleaned texts, which may be empty."""
    return [clean(text) for text in rows.columns[column]]


def filled_column(rows: Rows, column: str) -> list[str]:
    """The column's cleaned texts; UserError names the first row that has none."""
    texts = clean_column(rows, column)
    for row, text in enumerate(texts):
        if not text:
            raise UserError(f"{rows.place(row)}: nothing in column {column!r}. Fill it in or remove the row.")
    return texts


def label_column(rows: Rows, column: str, names: Mapping[str, str] | None) -> list[str]:
    """The column's labels under the names that the dataset's `labels` gives them (None: as they are).

    Raises UserError for a label that `names` does not have, for one of `names` that no row has, and
    when all rows have the same label.
    """
    labels = filled_column(rows, column)
    if names is not None:
        for row, label in enumerate(labels):
            if label not in names:
                expected = ", ".join(repr(name) for name in names)
                raise UserError(
                    f"{rows.place(row)}, column {column!r}: unknown label {label!r}, expected one of {expected}.\n"
                    "Mend the row, or add the label to the dataset's labels."
                )
        found = set(labels)
        for label in names:
            if label not in found:
                raise UserError(f"{rows.path}: no row has the label {label!r} that the dataset's labels list")
        labels = [names[label] for label in labels]
    if len(set(labels)) == 1:
        raise UserError(f"{rows.path}: every row has the label {labels[0]!r}; a classifier needs two or more")
    return labels


def first_occurrences(keys: Sequence[Hashable]) -> list[int]:
    """The rows whose key no earlier row has."""
    first: dict[Hashable, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    return list(first.values())


def count_conflicts(texts: Sequence[str], labels: Sequence[str]) -> int:
    """Number of distinct texts that occur with more than one label."""
    labels_of = defaultdict(set)
    for text, label in zip(texts, labels, strict=True):
        labels_of[text].add(label)
    return sum(len(found) > 1 for found in labels_of.values())


def undersample(rows: Sequence[int], labels: Sequence[str], generator: np.random.Generator) -> list[int]:
    """Those of `rows` that remain, in order, when every class keeps as many rows as the smallest has.

    `labels` holds the label of every row of the file. Which rows a class keeps is drawn.
    """
    members = defaultdict(list)
    for row in rows:
        members[labels[row]].append(row)
    smallest = min(map(len, members.values()))
    kept = [generator.permutation(members[label])[:smallest] for label in sorted(members)]
    return np.sort(np.concatenate(kept)).tolist()
