"""What is done to texts and rows before they are split.

Texts are altered in two ways only: whitespace around them goes, and Windows line ends become `\\n`.
Nothing is lower-cased, normalised or corrected, so that a model meets what people wrote; two texts are
duplicates when they are equal after that.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gptsmith.data.readers import Rows
from gptsmith.data.splits import by_stratum
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


def joined_columns(rows: Rows, columns: Sequence[str]) -> list[str]:
    """For each row the cleaned texts of `columns`, without empty ones, on lines of their own.

    UserError names the first row that has none.
    """
    if len(columns) == 1:
        return filled_column(rows, columns[0])
    parts = zip(*(clean_column(rows, column) for column in columns), strict=True)
    texts = ["\n".join(filter(None, row)) for row in parts]
    for row, text in enumerate(texts):
        if not text:
            names = ", ".join(map(repr, columns))
            raise UserError(f"{rows.place(row)}: nothing in columns {names}. Fill one in or remove the row.")
    return texts


def label_column(rows: Rows, column: str, names: Mapping[str, str] | None) -> list[str]:
    """The column's labels as the file has them; UserError for one that `names` does not have (None: any will do)."""
    labels = filled_column(rows, column)
    for row, label in enumerate(labels if names is not None else []):
        if names is not None and label not in names:
            expected = ", ".join(repr(name) for name in names)
            raise UserError(
                f"{rows.place(row)}, column {column!r}: unknown label {label!r}, expected one of {expected}.\n"
                "Mend the row, or add the label to the dataset's labels."
            )
    return labels


def draw(rows: np.ndarray, strata: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Those of `rows` that remain, in order, when every stratum keeps this share of its rows, and one at least.

    `rows` and `strata` are as in `stratified_split`.
    """
    kept = [
        generator.permutation(members)[: max(1, round(share * len(members)))] for members in by_stratum(rows, strata)
    ]
    return np.sort(np.concatenate(kept)) if kept else rows


def undersample(rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Those of `rows` that remain, in order, when every class keeps as many rows as the smallest has.

    `rows` and `labels` are as `rows` and `strata` in `stratified_split`. Which rows a class keeps is drawn.
    """
    classes = by_stratum(rows, labels)
    smallest = min(map(len, classes))
    return np.sort(np.concatenate([generator.permutation(members)[:smallest] for members in classes]))
