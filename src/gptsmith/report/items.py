"""Every item of the test split in a table: a run's predictions or its responses."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

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
    table = DataTable(
        name,
        f"Every prediction on the test split, the surest mistakes first. Probability: of the predicted label{seeds}.",
        [
            Column("No.", "number", digits=0),
            Column("Text", "text"),
            Column("True", "label"),
            Column("Predicted", "label"),
            Column("Probability", "number"),
            Column("Result", "label"),
        ],
        rows[["id", "text", "label", "prediction", "probability", "result"]].values.tolist(),
        f"{folder}/seed-*/predictions.parquet",
    )
    return _with_near_copies(table, near_copies)


def responses_table(name: str, run: RunResults, folder: str, near_copies: Mapping[int, int] | None = None) -> DataTable:
    """Every response to the test split by id, of the first seed, beside its reference and the base model's.

    The arguments are those of `predictions_table`.
    """
    rows = run.seeds[0].outputs
    before = {} if run.before is None else dict(zip(run.before["id"], run.before["response"], strict=True))
    rows = rows.assign(
        before=[before.get(item, "") for item in rows["id"]], result=np.where(rows["exact_match"] == 1, RIGHT, WRONG)
    )
    scores = {score: digits for score, digits in SCORE_DIGITS.items() if score in rows}
    seed = f" (seed {run.seeds[0].seed})" if len(run.seeds) > 1 else ""
    table = DataTable(
        name,
        f"Every response on the test split{seed}. Right: an exact match with the reference.",
        [
            Column("No.", "number", digits=0),
            Column("Category", "label"),
            Column("Instruction", "text"),
            Column("Input", "text"),
            Column("Reference", "text"),
            Column("Fine-tuned", "text"),
            Column("Before", "text"),
            *(Column(metric_name(score), "number", digits) for score, digits in scores.items()),
            Column("Result", "label"),
        ],
        rows[
            ["id", "category", "instruction", "input", "reference", "response", "before", *scores, "result"]
        ].values.tolist(),
        f"{folder}/seed-{run.seeds[0].seed}/responses.jsonl",
    )
    return _with_near_copies(table, near_copies)


def _with_near_copies(table: DataTable, near_copies: Mapping[int, int] | None) -> DataTable:
    """The table with a column that flags them, where there are any. The first cell of a row is its id."""
    if not near_copies:
        return table
    rows = [[*row, "near copy" if row[0] in near_copies else ""] for row in table.rows]
    return replace(table, columns=[*table.columns, Column("In training", "label")], rows=rows)
