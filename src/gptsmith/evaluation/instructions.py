"""Metrics of responses to instructions: how close they are to the reference, and how likely the model
finds the reference."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt, ValidationError

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import Array, Statistic, bootstrap, flat_metrics, null_where_undefined
from gptsmith.evaluation.tables import read_groups
from gptsmith.files import write_json


class Response(BaseModel):
    """What the evaluation needs of a line of responses.jsonl."""

    model_config = ConfigDict(frozen=True)

    id: int
    category: str
    reference: str
    response: str
    negative_log_likelihood: FiniteFloat
    """In nats, summed over the reference's tokens and end-of-text."""
    target_tokens: PositiveInt
    """How many tokens that are."""


def evaluate_instructions(responses: Path, settings: Evaluation, output: Path) -> None:
    """Write metrics.json of one model on the test split.

    Raises UserError when the responses cannot be evaluated.
    """
    frame = read_responses(responses)
    estimates = bootstrap(response_statistic(frame), len(frame), settings)
    metrics = {"test_rows": len(frame), **flat_metrics("test", estimates, settings.confidence)}
    write_json(output, null_where_undefined(metrics))


def read_responses(path: Path) -> pd.DataFrame:
    """Read responses.jsonl, sorted by id, with the item's scores in columns exact_match and rouge_l.

    Raises UserError with the line that does not keep to the contract, and for a file without lines.
    """
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                rows.append(Response.model_validate_json(line).model_dump())
            except ValidationError as error:
                problem = error.errors()[0]
                place = ".".join(str(part) for part in problem["loc"]) or "line"
                raise UserError(f"{path}, line {number}: {place}: {problem['msg']}") from error
    if not rows:
        raise UserError(f"{path}: no responses; give the dataset a larger split.test")
    frame = pd.DataFrame(rows)
    repeated = frame["id"].duplicated()
    if repeated.any():
        raise UserError(f"{path}, line {repeated.argmax() + 1}: id {frame['id'][repeated.argmax()]} occurs twice")
    return _with_scores(frame.sort_values("id", ignore_index=True))


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
    )


def exact_match(response: str, reference: str) -> bool:
    """Whether both are the same but for white space: ends are stripped, and each run inside counts as one
    blank. Capitals and punctuation count."""
    return response.split() == reference.split()


def rouge_l(pairs: list[tuple[str, str]]) -> list[float]:
    """ROUGE-L (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1) of pairs of
    response and reference: F1 of the longest common subsequence of words, without stemming.

    Words are runs of letters and digits of any script, in lower case; a text without any scores 0.
    """
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds to import, and only this needs it

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    return [scorer.score(reference, response)["rougeL"].fmeasure for response, reference in pairs]


class _Words:
    """The tokenizer of rouge-score knows a-z only; on ASCII text this one gives the same words."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


def match_statistic(frame: pd.DataFrame) -> Statistic:
    """Mean exact match and ROUGE-L as functions of item weights."""
    scores = frame[["exact_match", "rouge_l"]].to_numpy(np.float64)

    def statistic(weights: Array) -> dict[str, Array]:
        means = weights @ scores / weights.sum(axis=1, keepdims=True)
        return {"exact_match": means[:, 0], "rouge_l": means[:, 1]}

    return statistic


def response_statistic(frame: pd.DataFrame) -> Statistic:
    """Loss (nats a token, over all tokens of the items), perplexity, exact match and ROUGE-L."""
    matches = match_statistic(frame)
    nll = frame["negative_log_likelihood"].to_numpy(np.float64)
    tokens = frame["target_tokens"].to_numpy(np.float64)

    def statistic(weights: Array) -> dict[str, Array]:
        loss = weights @ nll / (weights @ tokens)
        with np.errstate(over="ignore"):  # a loss beyond 709 has no perplexity in floating point
            return {"loss": loss, "perplexity": np.exp(loss)} | matches(weights)

    return statistic
