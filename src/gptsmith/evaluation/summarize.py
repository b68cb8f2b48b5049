"""A run over its seeds: means with intervals, and differences from the baselines and the base model.

All seeds and baselines are measured on the same test items and share their resamples, so the interval of
a mean is about the choice of items, and differences are paired. How much seeds differ is the standard
deviation beside it.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.bootstrap import (
    Estimates,
    Statistic,
    bootstrap,
    described,
    mean_estimates,
    null_where_undefined,
    over_seeds,
)
from gptsmith.evaluation.classification import (
    METRICS,
    RATES,
    class_estimates,
    classification_statistic,
    labels_of,
    rates_at_threshold,
    read_baseline_predictions,
    read_predictions,
    threshold_of,
    validation_metrics,
)
from gptsmith.evaluation.instructions import (
    read_baseline_responses,
    read_responses,
    response_statistic,
    score_statistic,
)
from gptsmith.evaluation.repetition import reference_statistics, response_statistics
from gptsmith.evaluation.tables import check_same_items
from gptsmith.files import write_json


def summarize_classification(
    *,
    run: str,
    dataset: str,
    model: str,
    positive_label: str | None,
    near_copies: Collection[int] | None,
    predictions: dict[int, Path],
    baselines: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write summary.json of a classification run from the predictions.parquet of each seed. `near_copies` are the test
    items that are nearly training items, None where that is not known.

    Raises UserError when a file breaks its contract, or seeds and baselines are not about the same items.
    """
    splits = {seed: read_predictions(path) for seed, path in sorted(predictions.items())}
    tests = {seed: parts["test"] for seed, parts in splits.items()}
    rivals = read_baseline_predictions(baselines)
    files = {predictions[seed]: items for seed, items in tests.items()}
    check_same_items(files | {baselines / name: items for name, items in rivals.items()}, "label")

    def statistic(items: pd.DataFrame) -> Statistic:
        return classification_statistic(items, positive_label)

    def estimates(items: pd.DataFrame) -> Estimates:
        return bootstrap(statistic(items), len(items), settings)

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
        "metrics": over_seeds(by_seed, settings.confidence),
        "validation": {
            metric: {
                "mean": float(np.mean([values[metric] for values in validation.values()])),
                "by_seed": {str(seed): values[metric] for seed, values in validation.items()},
            }
            for metric in METRICS
        },
        "baselines": {name: described(theirs, "value", settings.confidence) for name, theirs in by_baseline.items()},
        "comparisons": _comparisons(mean_estimates(by_seed.values()), by_baseline, settings.confidence),
        "classes": _classes(tests.values(), rivals, settings),
        "threshold": None if positive_label is None else _threshold(splits, by_seed, positive_label, settings),
        "without_near_copies": _without_near_copies(tests.values(), rivals, statistic, near_copies, settings),
    }
    write_json(output, null_where_undefined(summary))


def summarize_instructions(
    *,
    run: str,
    dataset: str,
    model: str,
    near_copies: Collection[int] | None,
    responses: dict[int, Path],
    baselines: Path,
    before: Path,
    judgements: dict[Path, Path],
    settings: Evaluation,
    output: Path,
) -> None:
    """Write summary.json of an instruction run from the responses.jsonl of each seed, and of the model `before`
    fine-tuning; `near_copies` as for a classification.

    judgements: The judgements.jsonl of each of these files; empty without a judge.

    Raises UserError when a file breaks its contract, or seeds and baselines are not about the same items.
    """
    tests = {seed: read_responses(path, judgements.get(path)) for seed, path in sorted(responses.items())}
    start = read_responses(before, judgements.get(before))
    rivals = read_baseline_responses(baselines)
    files = {responses[seed]: items for seed, items in tests.items()} | {before: start}
    check_same_items(files | {baselines / name: items for name, items in rivals.items()}, "reference")

    rows = len(start)
    by_seed = {seed: bootstrap(response_statistic(items), rows, settings) for seed, items in tests.items()}
    by_baseline = {name: bootstrap(score_statistic(items), rows, settings) for name, items in rivals.items()}
    at_start = bootstrap(response_statistic(start), rows, settings)
    summary = {
        "run": run,
        "task": "instruction",
        "dataset": dataset,
        "model": model,
        "seeds": list(tests),
        "rows": rows,
        "confidence": settings.confidence,
        "metrics": over_seeds(by_seed, settings.confidence),
        "baselines": {name: described(theirs, "value", settings.confidence) for name, theirs in by_baseline.items()},
        "before": described(at_start, "value", settings.confidence),
        "comparisons": _comparisons(
            mean_estimates(by_seed.values()), by_baseline | {"before": at_start}, settings.confidence
        ),
        "categories": _categories(tests.values(), start, rivals, settings),
        "without_near_copies": _without_near_copies(tests.values(), rivals, score_statistic, near_copies, settings),
        "texts": {
            "fine_tuned": _mean_of_numbers([response_statistics(items) for items in tests.values()]),
            "before": response_statistics(start),
            "reference": reference_statistics(start),
        },
        "judge": _judged(tests, start) if judgements else None,
    }
    write_json(output, null_where_undefined(summary))


def _classes(
    seeds: Collection[pd.DataFrame], baselines: dict[str, pd.DataFrame], settings: Evaluation
) -> dict[str, Any]:
    """Precision, recall and F1 of each class against the rest, over the seeds and of each baseline."""
    first = next(iter(seeds))
    labels, rows = labels_of(first), first["label"].value_counts()
    ours = [class_estimates(items, labels, settings) for items in seeds]
    theirs = {name: class_estimates(items, labels, settings) for name, items in baselines.items()}
    return {
        label: {
            "rows": int(rows.get(label, 0)),
            **described(mean_estimates([one[label] for one in ours]), "mean", settings.confidence),
            "baselines": {name: described(one[label], "value", settings.confidence) for name, one in theirs.items()},
        }
        for label in labels
    }


def _threshold(
    splits: dict[int, dict[str, pd.DataFrame]],
    by_seed: dict[int, Estimates],
    positive_label: str,
    settings: Evaluation,
) -> dict[str, Any] | None:
    """What each seed's own threshold, chosen on its validation predictions, does to the rates on the test split, and
    how that differs, paired, from the more probable label; None where no validation text is positive."""
    thresholds = {seed: threshold_of(parts, positive_label, settings) for seed, parts in splits.items()}
    rates = {
        seed: rates_at_threshold(splits[seed]["test"], positive_label, threshold, settings)
        for seed, threshold in thresholds.items()
        if threshold is not None
    }
    if not rates:
        return None
    with_it, without = mean_estimates(rates.values()), mean_estimates(by_seed.values())
    return {
        "label": positive_label,
        "least_recall": settings.threshold_recall,
        "by_seed": {str(seed): threshold for seed, threshold in thresholds.items()},
        "metrics": over_seeds(rates, settings.confidence),
        "differences": described(
            {name: with_it[name] - without[name] for name in RATES}, "difference", settings.confidence
        ),
    }


def _without_near_copies(
    seeds: Collection[pd.DataFrame],
    baselines: dict[str, pd.DataFrame],
    statistic: Callable[[pd.DataFrame], Statistic],
    near_copies: Collection[int] | None,
    settings: Evaluation,
) -> dict[str, Any] | None:
    """The metrics on the test items that have no near copy in training; none where all or no items have one."""
    if near_copies is None:
        return None
    original = ~next(iter(seeds))["id"].isin(near_copies)
    rows = int(original.sum())
    found: dict[str, Any] = {"rows": rows, "near_copies": len(original) - rows, "metrics": {}, "baselines": {}}
    if not 0 < rows < len(original):
        return found

    def estimates(items: pd.DataFrame) -> Estimates:
        rest = items[original].reset_index(drop=True)
        return bootstrap(statistic(rest), rows, settings)

    found["metrics"] = described(mean_estimates([estimates(items) for items in seeds]), "mean", settings.confidence)
    found["baselines"] = {
        name: described(estimates(items), "value", settings.confidence) for name, items in baselines.items()
    }
    return found


def _categories(
    seeds: Collection[pd.DataFrame], before: pd.DataFrame, baselines: dict[str, pd.DataFrame], settings: Evaluation
) -> dict[str, Any]:
    """The scores by category, each resampled within the category; {} when no item has one."""
    found = {}
    for category, rows in before.groupby("category").groups.items():
        ours = mean_estimates([bootstrap(score_statistic(items.loc[rows]), len(rows), settings) for items in seeds])
        theirs = {
            name: bootstrap(score_statistic(items.loc[rows]), len(rows), settings)["exact_match"]
            for name, items in baselines.items()
        }
        found[str(category)] = {
            "rows": len(rows),
            **described(ours, "mean", settings.confidence),
            "before_exact_match": float(before.loc[rows, "exact_match"].mean()),
            "baselines": {name: estimate.value for name, estimate in theirs.items()},
            "differences": described(
                {name: ours["exact_match"] - estimate for name, estimate in theirs.items()},
                "difference",
                settings.confidence,
            ),
        }
    return {} if list(found) == [""] else found


def _judged(tests: dict[int, pd.DataFrame], before: pd.DataFrame) -> dict[str, Any]:
    """How many of the judge's answers gave no score, and between what the mean would lie with them."""
    return {
        "unparsable": {str(seed): int(items["judge_score"].isna().sum()) for seed, items in tests.items()},
        "unparsable_before": int(before["judge_score"].isna().sum()),
        "bounds": _bounds(list(tests.values())),
        "bounds_before": _bounds([before]),
    }


def _bounds(judged: list[pd.DataFrame]) -> dict[str, float]:
    """Mean score if all that is missing were 0, and if it were 100."""
    scores = pd.concat(judged)["judge_score"]
    return {"low": float(scores.fillna(0).mean()), "high": float(scores.fillna(100).mean())}


def _mean_of_numbers(seeds: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([numbers[name] for numbers in seeds])) for name in seeds[0]}


def _comparisons(ours: Estimates, rivals: dict[str, Estimates], confidence: float) -> list[dict[str, Any]]:
    """Ours minus theirs for every metric that the rival has, paired by item."""
    return [
        {"metric": metric, "against": rival} | numbers
        for rival, theirs in rivals.items()
        for metric, numbers in described({m: ours[m] - theirs[m] for m in theirs}, "difference", confidence).items()
    ]
