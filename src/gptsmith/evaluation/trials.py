"""What trainings are measured by that are only compared with each other: those of a grid, of a learning curve."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import Array, Statistic
from gptsmith.evaluation.classification import classification_statistic, read_split_predictions
from gptsmith.evaluation.instructions import read_responses

METRIC = {"classification": "f1", "instruction": "loss"}
"""What each task is judged by: for instructions the loss, which needs no generated responses."""


def read_trial(path: Path, split: str) -> pd.DataFrame:
    """What a model gave on a split, sorted by id, from predictions.parquet, likelihoods.parquet or responses.jsonl.

    Raises UserError for a file that breaks its contract or has no such rows.
    """
    if path.suffix == ".jsonl":
        return read_responses(path)
    if path.name.startswith("predictions"):
        return read_split_predictions(path, split)
    try:
        return pq.read_table(path, partitioning=None).to_pandas().sort_values("id", ignore_index=True)
    except (pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); delete it and run again") from error


def trial_statistic(items: pd.DataFrame, task: str, positive_label: str | None) -> Statistic:
    """Loss as a function of item weights, and for classification F1. The loss is in nats: of the right label a text,
    of the reference a token."""
    if task == "instruction":
        nll = items["negative_log_likelihood"].to_numpy(np.float64)
        tokens = items["target_tokens"].to_numpy(np.float64)
        return lambda weights: {"loss": weights @ nll / (weights @ tokens)}
    of_classes = classification_statistic(items, positive_label)
    given = [row[f"probability_{row['label']}"] for row in items.to_dict("records")]
    # So that a probability of 0 is a large loss and no infinity, which no mean could be made of.
    nll = -np.log(np.maximum(given, np.finfo(np.float64).tiny))

    def statistic(weights: Array) -> dict[str, Array]:
        return {"f1": of_classes(weights)["f1"], "loss": weights @ nll / weights.sum(axis=1)}

    return statistic


def check_same_items(files: dict[Path, pd.DataFrame]) -> None:
    """Raise UserError unless all are about the same ids."""
    (first, wanted), *others = files.items()
    for path, items in others:
        if not items["id"].equals(wanted["id"]):
            raise UserError(f"{path}: not about the items of {first}; delete the older of the two and run again")
