"""Metrics of a classifier, computed from its predictions.

With a positive label, precision, recall, F1, ROC AUC and average precision are that class's; without
one, each is computed for every class against the rest and averaged (macro). The conventions:

- precision is 0 for a class that is never predicted;
- a class's metrics are undefined where no item has it (ROC AUC also where every item has it), and the
  macro average is over the classes where the metric is defined;
- equal scores are one threshold, so ROC AUC counts a tied pair as half right;
- average precision is the sum over thresholds of precision times gain in recall, not interpolated.

What the probabilities are worth as such (log loss, Brier score, calibration error) is about all classes at once.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import (
    Array,
    Estimates,
    Statistic,
    bootstrap,
    flat_metrics,
    null_where_undefined,
    on_all_items,
)
from gptsmith.evaluation.calibration import calibration_statistic
from gptsmith.evaluation.tables import read_groups
from gptsmith.evaluation.thresholds import best_threshold
from gptsmith.files import write_json

RATES = ("precision", "recall", "f1")
METRICS = (
    *("accuracy", *RATES, "roc_auc", "average_precision"),
    *("log_loss", "brier_score", "calibration_error"),
)

_PROBABILITY = "probability_"


def evaluate_classification(predictions: Path, positive_label: str | None, settings: Evaluation, output: Path) -> None:
    """Write metrics.json of one model: the test split with intervals, the validation split without; with two classes
    also the threshold that the validation split gives, and what it does on the test split.

    Raises UserError when the predictions cannot be evaluated.
    """
    splits = read_predictions(predictions)
    test = splits["test"]
    estimates = bootstrap(classification_statistic(test, positive_label), len(test), settings)
    validation = validation_metrics(splits, positive_label)
    metrics = {
        "test_rows": len(test),
        **flat_metrics("test", estimates, settings.confidence),
        **{f"validation_{name}": value for name, value in validation.items()},
    }
    if positive_label is not None and (threshold := threshold_of(splits, positive_label, settings)) is not None:
        rates = rates_at_threshold(test, positive_label, threshold, settings)
        at_threshold = {f"{name}_at_threshold": estimate for name, estimate in rates.items()}
        metrics |= {"threshold": threshold, **flat_metrics("test", at_threshold, settings.confidence)}
    write_json(output, null_where_undefined(metrics))


def read_predictions(path: Path) -> dict[str, pd.DataFrame]:
    """Read a model's predictions.parquet: the rows of each split, sorted by id. "test" is always there.

    Raises UserError for a file that does not keep to its contract, or has no test rows.
    """
    splits = _read(path, "split")
    if "test" not in splits:
        raise UserError(f"{path}: no rows of the test split; give the dataset a larger split.test")
    return splits


def read_split_predictions(path: Path, split: str) -> pd.DataFrame:
    """The rows of one split, as read_predictions; raises UserError where it has none."""
    splits = _read(path, "split")
    if split not in splits:
        raise UserError(f"{path}: no rows of the {split} split; give the dataset a larger split.{split}")
    return splits[split]


def read_baseline_predictions(path: Path) -> dict[str, pd.DataFrame]:
    """Read baselines.parquet: the rows of each baseline, sorted by id; raises UserError like read_predictions."""
    return _read(path, "baseline")


def labels_of(predictions: pd.DataFrame) -> list[str]:
    """The labels, in the order of the probability columns."""
    return [name.removeprefix(_PROBABILITY) for name in predictions.columns if name.startswith(_PROBABILITY)]


def confusion_matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """Numbers of items, a row for each true label and a column for each predicted one."""
    labels = labels_of(predictions)
    counts = pd.crosstab(predictions["label"], predictions["prediction"])
    return counts.reindex(index=labels, columns=labels, fill_value=0)


def validation_metrics(splits: dict[str, pd.DataFrame], positive_label: str | None) -> dict[str, float]:
    """The metrics of the validation split; NaN when it is empty."""
    if "validation" not in splits:
        return dict.fromkeys(METRICS, np.nan)
    validation = splits["validation"]
    return on_all_items(classification_statistic(validation, positive_label), len(validation))


def threshold_of(splits: dict[str, pd.DataFrame], positive_label: str, settings: Evaluation) -> float | None:
    """What the validation split of a two-class model gives; None where it has no positive text."""
    if "validation" not in splits:
        return None
    rows = splits["validation"]
    score = rows[_PROBABILITY + positive_label].to_numpy(np.float64)
    return best_threshold((rows["label"] == positive_label).to_numpy(), score, settings.threshold_recall)


def rates_at_threshold(
    predictions: pd.DataFrame, positive_label: str, threshold: float, settings: Evaluation
) -> Estimates:
    """RATES of the positive of two classes, the answer where its probability is the threshold or more."""
    (other,) = (label for label in labels_of(predictions) if label != positive_label)
    is_positive = predictions[_PROBABILITY + positive_label] >= threshold
    answered = predictions.assign(prediction=np.where(is_positive, positive_label, other))
    return class_estimates(answered, [positive_label], settings)[positive_label]


def class_estimates(predictions: pd.DataFrame, classes: list[str], settings: Evaluation) -> dict[str, Estimates]:
    """RATES of single classes, each against the rest, by class."""
    rates = _class_rates(predictions, classes)

    def statistic(weights: Array) -> dict[str, Array]:
        return {f"{name}/{place}": row for name, rows in rates(weights).items() for place, row in enumerate(rows.T)}

    estimates = bootstrap(statistic, len(predictions), settings)
    return {label: {name: estimates[f"{name}/{place}"] for name in RATES} for place, label in enumerate(classes)}


def answers(predictions: pd.DataFrame) -> tuple[Array, NDArray[np.intp], NDArray[np.intp]]:
    """Probabilities [items, classes], and the places of the true and of the predicted label [items]."""
    labels = labels_of(predictions)
    places = {label: place for place, label in enumerate(labels)}
    probabilities = predictions[[_PROBABILITY + label for label in labels]].to_numpy(np.float64)
    label, prediction = (
        np.array([places[name] for name in predictions[kind]], np.intp) for kind in ("label", "prediction")
    )
    return probabilities, label, prediction


def classification_statistic(predictions: pd.DataFrame, positive_label: str | None) -> Statistic:
    """The metrics named in METRICS, as a function of item weights (whole numbers).

    Raises UserError when the positive label is not among the labels.
    """
    classes = _judged_classes(predictions, positive_label)
    label = predictions["label"].to_numpy()
    is_right = (label == predictions["prediction"].to_numpy()).astype(np.float64)
    rates, calibration = _class_rates(predictions, classes), calibration_statistic(*answers(predictions))
    areas = [_ranking_areas(predictions[_PROBABILITY + name].to_numpy(), label == name) for name in classes]

    def statistic(weights: Array) -> dict[str, Array]:
        per_class = rates(weights)
        roc_auc, average_precision = zip(*(area(weights) for area in areas), strict=True)
        per_class |= {"roc_auc": np.stack(roc_auc, axis=1), "average_precision": np.stack(average_precision, axis=1)}
        accuracy = weights @ is_right / weights.sum(axis=1)
        macro = {name: _mean_where_defined(values) for name, values in per_class.items()}
        return {"accuracy": accuracy} | macro | calibration(weights)

    return statistic


def f1_statistic(predictions: pd.DataFrame, positive_label: str | None) -> Statistic:
    """`f1` alone, as in classification_statistic, in an eighth of its time."""
    rates = _class_rates(predictions, _judged_classes(predictions, positive_label))
    return lambda weights: {"f1": _mean_where_defined(rates(weights)["f1"])}


def _judged_classes(predictions: pd.DataFrame, positive_label: str | None) -> list[str]:
    """Those that the metrics are about: the positive one, or all."""
    labels = labels_of(predictions)
    if positive_label is not None and positive_label not in labels:
        raise UserError(f"positive label {positive_label!r} is none of the predicted labels: {', '.join(labels)}")
    return labels if positive_label is None else [positive_label]


def _class_rates(predictions: pd.DataFrame, classes: list[str]) -> Callable[[Array], dict[str, Array]]:
    """A function from weights [resamples, items] to each of RATES [resamples, classes]."""
    label, prediction = predictions["label"].to_numpy(), predictions["prediction"].to_numpy()
    is_actual = np.stack([label == name for name in classes], axis=1).astype(np.float64)  # [items, classes]
    is_predicted = np.stack([prediction == name for name in classes], axis=1).astype(np.float64)

    def rates(weights: Array) -> dict[str, Array]:
        true_positives = weights @ (is_actual * is_predicted)
        actual, predicted = weights @ is_actual, weights @ is_predicted
        return {
            "precision": np.where(actual > 0, true_positives / np.maximum(predicted, 1), np.nan),
            "recall": np.where(actual > 0, true_positives / np.maximum(actual, 1), np.nan),
            "f1": np.where(actual > 0, 2 * true_positives / np.maximum(actual + predicted, 1), np.nan),
        }

    return rates


def _ranking_areas(scores: Array, is_positive: NDArray[np.bool_]) -> Callable[[Array], tuple[Array, Array]]:
    """A function from weights [resamples, items] to (ROC AUC, average precision), each [resamples].

    The items are sorted by falling score once; a resample changes only how often each counts.
    """
    order = np.argsort(-scores, kind="stable")
    thresholds = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # last item of each score
    ranked_positive = is_positive[order].astype(np.float64)

    def areas(weights: Array) -> tuple[Array, Array]:
        ranked = weights[:, order]
        selected = np.cumsum(ranked, axis=1)[:, thresholds]  # items at or above the threshold
        hits = np.cumsum(ranked * ranked_positive, axis=1)[:, thresholds]  # of which positive
        positives, negatives = hits[:, -1], selected[:, -1] - hits[:, -1]
        new_hits = np.diff(hits, axis=1, prepend=0)
        new_misses = np.diff(selected, axis=1, prepend=0) - new_hits
        right_pairs = np.einsum("rt,rt->r", new_misses, hits - new_hits / 2)
        precision_times_hits = np.einsum("rt,rt->r", new_hits, hits / np.maximum(selected, 1))
        with np.errstate(invalid="ignore"):  # 0/0 is NaN: undefined
            return right_pairs / (positives * negatives), precision_times_hits / positives

    return areas


def _mean_where_defined(values: Array) -> Array:
    """Mean over the classes [resamples, classes] that are not NaN; NaN where none is left."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=1) / (~np.isnan(values)).sum(axis=1)


def _read(path: Path, group: str) -> dict[str, pd.DataFrame]:
    groups = read_groups(path, group, ["label", "prediction"])
    for rows in groups.values():
        labels = labels_of(rows)
        for column in ("label", "prediction"):
            unknown = rows[~rows[column].isin(labels)]
            if len(unknown):
                row = unknown.iloc[0]
                raise UserError(f"{path}, id {row['id']}: {column} {row[column]!r} has no column {_PROBABILITY}<label>")
        probabilities = rows[[_PROBABILITY + label for label in labels]].to_numpy(np.float64)
        wrong = rows[~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)]  # NaN is not within either
        if len(wrong):
            raise UserError(f"{path}, id {wrong['id'].iloc[0]}: a probability is not a number from 0 to 1")
    return groups
