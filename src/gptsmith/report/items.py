"""Every item of the test split in a table: a run's predictions or its responses."""

from collections.abc import Mapping

import numpy as np

from gptsmith.evaluation.classification import labels_of
from gptsmith.report.data_table import Column, DataTable
from gptsmith.report.results import RunResults
from gptsmith.report.wording import metric_name

RIGHT, WRONG = "✓ right", "✗ wrong"


def predictions_table(
    name: str, run: RunResults, folder: str, near_copies: Mapping[int, int] | None = None
) -> DataTable:
    """Every prediction on the test split: the wrong ones first, and of these the surest first.

    Several seeds give one row an item: the label with the highest mean probability. `name` is the table's id,
    `folder` where the run's results are; `near_copies` maps the id of a test text to that of a training text
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
            Column("No.", "number"),
            Column("Text", "text"),
            Column("True", "label"),
            Column("Predicted", "label"),
            Column("Probability", "number"),
            Column("Result", "label"),
        ],
        rows[["id", "text", "label", "prediction", "probability", "result"]].values.tolist(),
        f"{folder}/seed-*/predictions.parquet",
    )
    if near_copies:
        table.columns.append(Column("In training", "label"))
        for row in table.rows:
            row.append("near copy" if row[0] in near_copies else "")
    return table


def responses_table(name: str, run: RunResults, folder: str) -> DataTable:
    """Every response to the test split by id, of the first seed, beside its reference and the base model's."""
    rows = run.seeds[0].outputs
    before = {} if run.before is None else dict(zip(run.before["id"], run.before["response"], strict=True))
    rows = rows.assign(
        before=[before.get(item, "") for item in rows["id"]], result=np.where(rows["exact_match"] == 1, RIGHT, WRONG)
    )
    scores = [score for score in ("rouge_l", "chrf", "judge_score") if score in rows]
    seed = f" (seed {run.seeds[0].seed})" if len(run.seeds) > 1 else ""
    return DataTable(
        name,
        f"Every response on the test split{seed}. Right: an exact match with the reference.",
        [
            Column("No.", "number"),
            Column("Category", "label"),
            Column("Instruction", "text"),
            Column("Input", "text"),
            Column("Reference", "text"),
            Column("Fine-tuned", "text"),
            Column("Before", "text"),
            *(Column(metric_name(score), "number") for score in scores),
            Column("Result", "label"),
        ],
        rows[
            ["id", "category", "instruction", "input", "reference", "response", "before", *scores, "result"]
        ].values.tolist(),
        f"{folder}/seed-{run.seeds[0].seed}/responses.jsonl",
    )
