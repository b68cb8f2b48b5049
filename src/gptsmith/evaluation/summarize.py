"""A run over its seeds: means with intervals, and differences from the baselines and the base model.

All seeds and baselines are measured on the same test items and share their resamples, so the interval of
a mean is about the choice of items, and differences are paired. How much seeds differ is the standard
deviation beside it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import Estimate, bootstrap, mean_estimate, null_where_undefined
from gptsmith.evaluation.classification import (
    METRICS,
    classification_statistic,
    read_baseline_predictions,
    read_predictions,
    validation_metrics,
)
from gptsmith.evaluation.instructions import (
    match_statistic,
    read_baseline_responses,
    read_responses,
    response_statistic,
)
from gptsmith.files import write_json

Estimates = dict[str, Estimate]
"""Metric -> estimate."""


def summarize_classification(
    *,
    run: str,
    dataset: str,
    model: str,
    positive_label: str | None,
    predictions: dict[int, Path],
    baselines: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write summary.json of a classification run from the predictions.parquet of each seed.

    Raises UserError when a file breaks its contract, or seeds and baselines are not about the same items.
    """
    splits = {seed: read_predictions(path) for seed, path in sorted(predictions.items())}
    tests = {seed: parts["test"] for seed, parts in splits.items()}
    rivals = read_baseline_predictions(baselines)
    files = {predictions[seed]: items for seed, items in tests.items()}
    _check_same_items(files | {baselines / name: items for name, items in rivals.items()}, "label")

    def estimates(items: pd.DataFrame) -> Estimates:
        return bootstrap(classification_statistic(items, positive_label), len(items), settings)

    by_seed = {seed: estimates(items) for seed, items in tests.items()}
    by_baseline = {name: estimates(items) for name, items in rivals.items()}
    validation = {seed: validation_metrics(parts, positive_label) for seed, parts in splits.items()}
    summary = {
        "run": run,
        "task": "classification",
        "dataset": dataset,
        "model": model,
        "seeds": list(tests),
        "rows": len(next(iter(tests.values()))),
        "confidence": settings.confidence,
        "metrics": _over_seeds(by_seed, settings.confidence),
        "validation": {
            metric: {
                "mean": float(np.mean([values[metric] for values in validation.values()])),
                "by_seed": {str(seed): values[metric] for seed, values in validation.items()},
            }
            for metric in METRICS
        },
        "baselines": {name: _described(theirs, "value", settings.confidence) for name, theirs in by_baseline.items()},
        "comparisons": _comparisons(_mean(by_seed.values()), by_baseline, settings.confidence),
    }
    write_json(output, null_where_undefined(summary))


def summarize_instructions(
    *,
    run: str,
    dataset: str,
    model: str,
    responses: dict[int, Path],
    baselines: Path,
    before: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write summary.json of an instruction run from the responses.jsonl of each seed, and of the model `before`
    fine-tuning.

    Raises UserError when a file breaks its contract, or seeds and baselines are not about the same items.
    """
    tests = {seed: read_responses(path) for seed, path in sorted(responses.items())}
    start = read_responses(before)
    rivals = read_baseline_responses(baselines)
    files = {responses[seed]: items for seed, items in tests.items()} | {before: start}
    _check_same_items(files | {baselines / name: items for name, items in rivals.items()}, "reference")

    rows = len(start)
    by_seed = {seed: bootstrap(response_statistic(items), rows, settings) for seed, items in tests.items()}
    by_baseline = {name: bootstrap(match_statistic(items), rows, settings) for name, items in rivals.items()}
    at_start = bootstrap(response_statistic(start), rows, settings)
    summary = {
        "run": run,
        "task": "instruction",
        "dataset": dataset,
        "model": model,
        "seeds": list(tests),
        "rows": rows,
        "confidence": settings.confidence,
        "metrics": _over_seeds(by_seed, settings.confidence),
        "baselines": {name: _described(theirs, "value", settings.confidence) for name, theirs in by_baseline.items()},
        "before": _described(at_start, "value", settings.confidence),
        "comparisons": _comparisons(_mean(by_seed.values()), by_baseline | {"before": at_start}, settings.confidence),
        "categories": _categories(tests.values(), start, rivals, settings),
    }
    write_json(output, null_where_undefined(summary))


def _categories(
    seeds: Collection[pd.DataFrame], before: pd.DataFrame, baselines: dict[str, pd.DataFrame], settings: Evaluation
) -> dict[str, Any]:
    """Exact match and ROUGE-L by category, each resampled within the category; {} when no item has one."""
    described = {}
    for category, rows in before.groupby("category").groups.items():
        ours = _mean([bootstrap(match_statistic(items.loc[rows]), len(rows), settings) for items in seeds])
        theirs = {
            name: bootstrap(match_statistic(items.loc[rows]), len(rows), settings)["exact_match"]
            for name, items in baselines.items()
        }
        described[str(category)] = {
            "rows": len(rows),
            **_described(ours, "mean", settings.confidence),
            "before_exact_match": float(before.loc[rows, "exact_match"].mean()),
            "baselines": {name: estimate.value for name, estimate in theirs.items()},
            "differences": _described(
                {name: ours["exact_match"] - estimate for name, estimate in theirs.items()},
                "difference",
                settings.confidence,
            ),
        }
    return {} if list(described) == [""] else described


def _mean(seeds: Collection[Estimates]) -> Estimates:
    metrics = next(iter(seeds))
    return {metric: mean_estimate([estimates[metric] for estimates in seeds]) for metric in metrics}


def _over_seeds(by_seed: dict[int, Estimates], confidence: float) -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = _described(_mean(by_seed.values()), "mean", confidence)
    for metric, numbers in described.items():
        values = {str(seed): estimates[metric].value for seed, estimates in by_seed.items()}
        numbers["standard_deviation"] = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None
        numbers["by_seed"] = values
    return described


def _described(estimates: Estimates, value: str, confidence: float) -> dict[str, dict[str, Any]]:
    """Each estimate as {<value>: ..., "low": ..., "high": ...}."""
    described = {}
    for name, estimate in estimates.items():
        low, high = estimate.interval(confidence)
        described[name] = {value: estimate.value, "low": low, "high": high}
    return described


def _comparisons(ours: Estimates, rivals: dict[str, Estimates], confidence: float) -> list[dict[str, Any]]:
    """Ours minus theirs for every metric that the rival has, paired by item."""
    return [
        {"metric": metric, "against": rival} | numbers
        for rival, theirs in rivals.items()
        for metric, numbers in _described({m: ours[m] - theirs[m] for m in theirs}, "difference", confidence).items()
    ]


def _check_same_items(files: dict[Path, pd.DataFrame], truth: str) -> None:
    """Raise UserError unless all are about the same ids with the same `truth`."""
    (first, wanted), *others = files.items()
    for path, items in others:
        if not items[["id", truth]].equals(wanted[["id", truth]]):
            raise UserError(f"{path}: not about the test items of {first}; delete the older of the two and run again")
