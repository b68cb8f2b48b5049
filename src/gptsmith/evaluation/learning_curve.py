"""What more data give: a run trained on parts of its training split, each measured on the test split.

Nothing is chosen here, so that the test split may be looked at for every part.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gptsmith.config.evaluation import Evaluation
from gptsmith.data.prepared import read_report
from gptsmith.data.subsets import nested_subset
from gptsmith.evaluation.baselines import predictions_of, tfidf_classifier, train_and_test
from gptsmith.evaluation.bootstrap import Estimate, bootstrap, mean_estimate, null_where_undefined, over_seeds
from gptsmith.evaluation.tables import check_same_items
from gptsmith.evaluation.trials import METRIC, read_trial, trial_statistic
from gptsmith.files import read_json, write_json

BASELINE = "tfidf_logistic_regression"


def trace_learning_curve(
    *,
    run: str,
    prepared: Path,
    answers: dict[float, dict[int, Path]],
    provenance: dict[float, Path],
    settings: Evaluation,
    output: Path,
) -> None:
    """Write learning_curve.json: the metric by how many rows were learned from.

    prepared: folder of the dataset; answers: by share and seed, what the model gave on the test split; provenance: of
    one seed of each share.

    A classification has the baseline beside it, fitted to the very rows that each training saw. Each size is compared
    with the one before it, and with the baseline: paired, on the same test items and resamples.

    Raises UserError when a file breaks its contract.
    """
    report = read_report(prepared)
    task, metric = report["task"], METRIC[report["task"]]
    items = {path: read_trial(path, "test") for paths in answers.values() for path in paths.values()}
    check_same_items(items)
    rows = len(next(iter(items.values())))
    positive_label = report.get("positive_label")
    points: list[dict[str, Any]] = []
    before: Estimate | None = None
    for share in sorted(answers):
        by_seed = {
            seed: bootstrap(trial_statistic(items[path], task, positive_label), rows, settings)
            for seed, path in answers[share].items()
        }
        ours = mean_estimate([estimates[metric] for estimates in by_seed.values()])
        point = {
            "share": share,
            "training_rows": read_json(provenance[share])["training_rows"],
            **over_seeds(by_seed, settings.confidence)[metric],
            "since_before": None if before is None else _difference(ours, before, settings.confidence),
        }
        if task == "classification":
            baseline = _baseline(prepared, share, list(by_seed), settings)
            low, high = baseline.interval(settings.confidence)
            point["baseline"] = {"value": baseline.value, "low": low, "high": high}
            point["against_baseline"] = _difference(ours, baseline, settings.confidence)
        points.append(point)
        before = ours
    curve = {
        "run": run,
        "task": task,
        "metric": metric,
        "rows": rows,
        "confidence": settings.confidence,
        "seeds": list(answers[1.0]),
        "points": points,
    }
    write_json(output, null_where_undefined(curve))


def _baseline(prepared: Path, share: float, seeds: list[int], settings: Evaluation) -> Estimate:
    """F1 of TF-IDF and logistic regression on the test split, a fit for each seed's choice of rows."""
    train, test = train_and_test(prepared)
    report = read_report(prepared)
    strata = np.array([report["labels"].index(label) for label in train["label"]])
    found = []
    for seed in seeds if share < 1 else seeds[:1]:  # all rows are the same rows for every seed
        seen = train.iloc[nested_subset(strata, share, seed)]
        predictions = predictions_of(tfidf_classifier(), seen, test, report["labels"]).sort_values("id")
        statistic = trial_statistic(predictions, "classification", report["positive_label"])
        found.append(bootstrap(statistic, len(test), settings)["f1"])
    return mean_estimate(found)


def _difference(ours: Estimate, theirs: Estimate, confidence: float) -> dict[str, float]:
    difference = ours - theirs
    low, high = difference.interval(confidence)
    return {"difference": difference.value, "low": low, "high": high}
