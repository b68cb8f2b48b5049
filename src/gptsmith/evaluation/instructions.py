"""Metrics of responses to instructions: how close they are to the reference, how likely the model finds the
reference, and what a judge says."""

from pathlib import Path

import numpy as np
import pandas as pd

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.answers import judgement_rows, response_rows
from gptsmith.evaluation.bootstrap import Array, Statistic, bootstrap, flat_metrics, null_where_undefined
from gptsmith.evaluation.overlap import chrf, exact_match, rouge_l
from gptsmith.evaluation.tables import read_groups
from gptsmith.files import write_json

SCORES = ("exact_match", "rouge_l", "chrf", "judge_score")
"""Scores of an item, higher is better; the last only where a judge graded it."""


def evaluate_instructions(responses: Path, settings: Evaluation, output: Path, judgements: Path | None = None) -> None:
    """Write metrics.json of one model on the test split.

    Raises UserError when the responses cannot be evaluated.
    """
    frame = read_responses(responses, judgements)
    estimates = bootstrap(response_statistic(frame), len(frame), settings)
    metrics = {"test_rows": len(frame), **flat_metrics("test", estimates, settings.confidence)}
    write_json(output, null_where_undefined(metrics))


def read_responses(path: Path, judgements: Path | None = None) -> pd.DataFrame:
    """Read responses.jsonl, sorted by id, with each item's scores (`SCORES`) in columns: `judge_score` only with
    `judgements`, and NaN where the judge gave none.

    Raises UserError for files that do not keep to their contracts, and judgements of other items.
    """
    frame = _with_scores(response_rows(path))
    if judgements is None:
        return frame
    judged = judgement_rows(judgements)
    if not judged["id"].equals(frame["id"]):
        raise UserError(f"{judgements}: not about the responses in {path}; delete it and run again")
    return frame.assign(judge_score=judged["score"])


def read_baseline_responses(path: Path) -> dict[str, pd.DataFrame]:
    """Read baselines.parquet: the rows of each baseline, sorted by id, with their scores as in read_responses.

    Raises UserError for a file that does not keep to its contract.
    """
    groups = read_groups(path, "baseline", ["category", "reference", "response"])
    return {name: _with_scores(rows) for name, rows in groups.items()}


def _with_scores(frame: pd.DataFrame) -> pd.DataFrame:
    pairs = list(zip(frame["response"], frame["reference"], strict=True))
    return frame.assign(
        exact_match=[float(exact_match(response, reference)) for response, reference in pairs],
        rouge_l=rouge_l(pairs),
        chrf=[chrf(response, reference) for response, reference in pairs],
    )


def score_statistic(frame: pd.DataFrame) -> Statistic:
    """Mean of each score that `frame` has, over the items that have it, as functions of item weights."""
    names = [name for name in SCORES if name in frame]
    scores = frame[names].to_numpy(np.float64)
    has_score = (~np.isnan(scores)).astype(np.float64)
    totals = np.nan_to_num(scores)

    def statistic(weights: Array) -> dict[str, Array]:
        counts = weights @ has_score
        means = np.where(counts > 0, weights @ totals / np.maximum(counts, 1), np.nan)
        return {name: means[:, column] for column, name in enumerate(names)}

    return statistic


def response_statistic(frame: pd.DataFrame) -> Statistic:
    """Loss (nats a token, over all tokens of the items), perplexity, and the mean scores."""
    mean_scores = score_statistic(frame)
    nll = frame["negative_log_likelihood"].to_numpy(np.float64)
    tokens = frame["target_tokens"].to_numpy(np.float64)

    def statistic(weights: Array) -> dict[str, Array]:
        loss = weights @ nll / (weights @ tokens)
        with np.errstate(over="ignore"):  # a loss beyond 709 has no perplexity in floating point
            return {"loss": loss, "perplexity": np.exp(loss)} | mean_scores(weights)

    return statistic
