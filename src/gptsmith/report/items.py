"""Every item of the test split in a table: a run's predictions or its responses."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gptsmith.evaluation.classification import labels_of
from gptsmith.report.data_table import Column, DataTable
from gptsmith.report.results import RunResults
from gptsmith.report.wording import metric_name

RIGHT, WRONG = "✓ right", "✗ wrong"
SCORE_DIGITS = {"rouge_l": 3, "chrf": 3, "judge_score": 0}


def predictions_table(
    name: str, run: RunResults, folder: str, near_copies: Mapping[int, int] | None = None
) -> DataTable:
    """Every prediction on the test split: the wrong ones first, and of these the surest first.

    Several seeds give one row an item: the label with the highest mean probability. `name` is the table's id,
    `folder` where the run's results are; `near_copies` maps the id of a test item to that of a training item
    that is nearly the same, where those were looked for.
    """
    rows = run.seeds[0].outputs
    labels = labels_of(rows)
    by_seed = [seed.outputs[[f"probability_{label}" for label in labels]].to_numpy() for seed in run.seeds]
    probabilities = np.mean(by_seed, axis=0)  # [items, labels]; the outputs of every seed are sorted by id
    rows = rows.assign(
        prediction=[labels[best] for best in probabilities.argmax(axis=1)], probability=probabilities.max(axis=1)
    )
    rows = rows.assign(result=np.where(rows["prediction"] == rows["label"], RIGHT, WRONG))
    rows = rows.sort_values(["result", "probability", "id"], ascending=[False, False, True])
    seeds = f", mean of {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
    caption = (
        f"Every prediction on the test split, the surest mistakes first. Probability: of the predicted label{seeds}."
    )
    columns = {
        "id": Column("No.", "number", digits=0),
        "text": Column("Text", "text"),
        "label": Column("True", "label"),
        "prediction": Column("Predicted", "label"),
        "probability": Column("Probability", "number"),
        "result": Column("Result", "label"),
    }
    return _table(name, caption, rows, columns, near_copies, f"{folder}/seed-*/predictions.parquet")


def responses_table(name: str, run: RunResults, folder: str, near_copies: Mapping[int, int] | None = None) -> DataTable:
    """Every response to the test split by id, of the first seed, beside its reference and the base model's.

    The arguments are those of `predictions_table`.
    """
    rows = run.seeds[0].outputs
    before = {} if run.before is None else dict(zip(run.before["id"], run.before["response"], strict=True))
    rows = rows.assign(
        before=[before.get(item, "") for item in rows["id"]], result=np.where(rows["exact_match"] == 1, RIGHT, WRONG)
    )
    seed = f" (seed {run.seeds[0].seed})" if len(run.seeds) > 1 else ""
    caption = f"Every response on the test split{seed}. Right: an exact match with the reference."
    scores = {
        score: Column(metric_name(score), "number", digits) for score, digits in SCORE_DIGITS.items() if score in rows
    }
    columns = {
        "id": Column("No.", "number", digits=0),
        "category": Column("Category", "label"),
        "instruction": Column("Instruction", "text"),
        "input": Column("Input", "text"),
        "reference": Column("Reference", "text"),
        "response": Column("Fine-tuned", "text"),
        "before": Column("Before", "text"),
        **scores,
        "result": Column("Result", "label"),
    }
    return _table(name, caption, rows, columns, near_copies, f"{folder}/seed-{run.seeds[0].seed}/responses.jsonl")


def _table(
    name: str,
    caption: str,
    rows: pd.DataFrame,
    columns: dict[str, Column],
    near_copies: Mapping[int, int] | None,
    source: str,
) -> DataTable:
    """Of the columns by their names in `rows`, and one that flags the near copies, where there are any."""
    if near_copies:
        rows = rows.assign(near_copy=np.where(rows["id"].isin(list(near_copies)), "near copy", ""))
        columns = columns | {"near_copy": Column("In training", "label")}
    return DataTable(name, caption, list(columns.values()), rows[list(columns)].values.tolist(), source)
