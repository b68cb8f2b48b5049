"""What trainings are measured by that are only compared with each other: those of a grid, of a learning curve."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.errors import UserError
from gptsmith.evaluation.answers import response_rows
from gptsmith.evaluation.bootstrap import Array, Statistic
from gptsmith.evaluation.classification import f1_statistic, read_split_predictions

METRIC = {"classification": "f1", "instruction": "loss"}
"""What each task is judged by: for instructions the loss, which needs no generated responses."""

ANSWERS = {"classification": "predictions.parquet", "instruction": "likelihoods.parquet"}
"""The file in a trial's folder with what it gave."""

_LIKELIHOOD = ["negative_log_likelihood", "target_tokens"]


def read_trial(path: Path, split: str) -> pd.DataFrame:
    """What a model gave on a split, sorted by id, from predictions.parquet, likelihoods.parquet or responses.jsonl.

    Raises UserError for a file that breaks its contract or has no such rows.
    """
    if path.suffix == ".jsonl":
        return response_rows(path)
    if path.name.startswith("predictions"):
        return read_split_predictions(path, split)
    try:
        items = pq.read_table(path, partitioning=None).to_pandas()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); delete it and run again") from error
    if missing := [name for name in ("id", *_LIKELIHOOD) if name not in items]:
        raise UserError(f"{path}: no column {', '.join(missing)}; delete it and run again")
    if not np.isfinite(items[_LIKELIHOOD]).all(axis=None):
        raise UserError(f"{path}: a value is not a finite number; delete it and run again")
    return items.sort_values("id", ignore_index=True)


def trial_statistic(items: pd.DataFrame, task: str, positive_label: str | None) -> Statistic:
    """Loss as a function of item weights, and for classification F1. The loss is in nats: of the right label a text,
    of the reference a token."""
    if task == "instruction":
        nll = items["negative_log_likelihood"].to_numpy(np.float64)
        tokens = items["target_tokens"].to_numpy(np.float64)
        return lambda weights: {"loss": weights @ nll / (weights @ tokens)}
    f1 = f1_statistic(items, positive_label)
    given = [row[f"probability_{row['label']}"] for row in items.to_dict("records")]
    # So that a probability of 0 is a large loss and no infinity, which no mean could be made of.
    nll = -np.log(np.maximum(given, np.finfo(np.float64).tiny))

    def statistic(weights: Array) -> dict[str, Array]:
        return f1(weights) | {"loss": weights @ nll / weights.sum(axis=1)}

    return statistic
