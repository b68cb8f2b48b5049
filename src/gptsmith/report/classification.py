"""What a classification run got right and wrong: each class, confusions, curves, calibration."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from gptsmith.evaluation.calibration import Bin, reliability
from gptsmith.evaluation.classification import RATES, answers, confusion_matrix, labels_of
from gptsmith.report.charts import Curve, unit_square
from gptsmith.report.history import Figure
from gptsmith.report.results import RunResults
from gptsmith.report.runs import Comparison, Estimate, Table, estimate, probability_comparisons, probability_table
from gptsmith.report.wording import Verdict, baseline_name, metric_name, number, verdict

Array = npt.NDArray[np.float64]
Points = tuple[Array, Array]

# From just below 0, so that a curve that rises at 0 is drawn from its first point.
GRID = np.concatenate([[-1e-9], np.linspace(0, 1, 401)])
REFERENCE = "tfidf_logistic_regression"


@dataclass(frozen=True)
class Confusion:
    """Counts by true label (rows) and predicted label (columns), and the same as shares of the row."""

    title: str
    labels: list[str]
    counts: list[list[int]]
    shares: list[list[float]]


@dataclass(frozen=True)
class ClassRow:
    """Precision, recall and F1 of one class against the rest; `reference` is the baseline's F1."""

    label: str
    rows: int
    rates: list[Estimate | None]
    reference: Estimate | None


@dataclass(frozen=True)
class Calibration:
    """`bins` are rows of the diagram: its range, and the fine-tuned model and the reference baseline there."""

    figure: Figure
    bins: list[tuple[str, Bin | None, Bin | None]]
    table: Table
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Rate:
    """A metric with the threshold, and how it differs from that without."""

    metric: str
    without: Estimate | None
    value: Estimate | None
    difference: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Threshold:
    """What the validation split gave for each seed, and what it does on the test split. `option` is the first seed's
    as `gptsmith predict --threshold` takes it, for a shell."""

    label: str
    least_recall: float
    by_seed: list[tuple[int, float]]
    option: str
    rates: list[Rate]


@dataclass(frozen=True)
class ClassificationView:
    """What the report shows of a classification run and of no other."""

    rates: list[Figure]
    confusions: list[Confusion]
    classes: list[ClassRow]
    calibration: Calibration
    threshold: Threshold | None


def view(name: str, run: RunResults, positive: str | None) -> ClassificationView:
    """`name` begins the ids of the charts; `positive` is the positive label, None with more than two classes."""
    return ClassificationView(
        rate_curves(name, run, positive),
        confusions(run),
        class_rows(run.summary),
        calibration(name, run),
        threshold(run.summary),
    )


def class_rows(summary: dict[str, Any]) -> list[ClassRow]:
    """In the order of the labels."""
    return [
        ClassRow(
            label,
            entry["rows"],
            [estimate(entry[rate]) for rate in RATES],
            estimate(entry["baselines"].get(REFERENCE, {}).get("f1")),
        )
        for label, entry in summary["classes"].items()
    ]


def calibration(name: str, run: RunResults) -> Calibration:
    """The reliability diagram (answers of all seeds together), its bins, and the metrics of probabilities."""
    ours = _reliability([seed.outputs for seed in run.seeds])
    theirs = _reliability([run.baselines[REFERENCE]]) if REFERENCE in run.baselines else []
    curves = [Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "calm", "--", 1.0)]
    legend = [("accent", "line", "fine-tuned")]
    if theirs:
        curves.append(_reliability_curve(theirs, "contrast"))
        legend.append(("contrast", "line", baseline_name(REFERENCE)))
    curves.append(_reliability_curve(ours, "accent"))
    title = "Reliability diagram"
    seeds = f"; {len(run.seeds)} seeds together" if len(run.seeds) > 1 else ""
    figure = Figure(
        unit_square(f"{name}-reliability", title, curves, "mean confidence", "share of right answers"),
        f"{title}{seeds}. Below the diagonal the model is surer than it is right. How many answers a point stands for: "
        "the table.",
        [*legend, ("calm", "dashed", "perfectly calibrated")],
    )
    by_range = [{one.low: one for one in bins} for bins in (ours, theirs)]
    ranges = sorted({(one.low, one.high) for one in [*ours, *theirs]})
    return Calibration(
        figure,
        [(f"{low:.1f} – {high:.1f}", by_range[0].get(low), by_range[1].get(low)) for low, high in ranges],
        probability_table(run.summary),
        probability_comparisons(run.summary, REFERENCE),
    )


def _reliability(predictions: Sequence[pd.DataFrame]) -> list[Bin]:
    probabilities, label, answer = answers(pd.concat(predictions, ignore_index=True))
    return reliability(probabilities[np.arange(len(answer)), answer], answer == label)


def _reliability_curve(bins: list[Bin], role: str) -> Curve:
    return Curve(np.array([one.confidence for one in bins]), np.array([one.accuracy for one in bins]), role, "o-", 1.6)


def threshold(summary: dict[str, Any]) -> Threshold | None:
    found = summary["threshold"]
    if found is None:
        return None
    rates = []
    for metric in RATES:
        gap = found["differences"][metric]
        without, value = estimate(summary["metrics"][metric]), estimate(found["metrics"][metric])
        rates.append(Rate(metric_name(metric), without, value, gap, verdict(metric, gap["low"], gap["high"])))
    by_seed = [(int(seed), value) for seed, value in found["by_seed"].items()]
    option = shlex.quote(f"{found['label']}={by_seed[0][1]:.9g}")
    return Threshold(found["label"], found["least_recall"], by_seed, option, rates)


def confusions(run: RunResults) -> list[Confusion]:
    """The fine-tuned model (counts added up over the seeds) and the reference baseline."""
    ours = pd.concat([seed.outputs for seed in run.seeds])
    title = "Fine-tuned" if len(run.seeds) == 1 else f"Fine-tuned, {len(run.seeds)} seeds added up"
    found = [_confusion(title, ours)]
    if REFERENCE in run.baselines:
        found.append(_confusion(baseline_name(REFERENCE), run.baselines[REFERENCE]))
    return found


def _confusion(title: str, predictions: pd.DataFrame) -> Confusion:
    counts = confusion_matrix(predictions).to_numpy()
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Confusion(title, labels_of(predictions), counts.tolist(), (counts / totals).tolist())


def _roc(rows: pd.DataFrame, label: str) -> Points:
    x, y, _ = roc_curve(rows["label"] == label, rows[f"probability_{label}"])
    return x, y


def _precision_recall(rows: pd.DataFrame, label: str) -> Points:
    """Recall rising, precision as steps: each value holds back to the recall before it, as average
    precision adds it up."""
    precision, recall, _ = precision_recall_curve(
        rows["label"] == label, rows[f"probability_{label}"], drop_intermediate=True
    )
    recall, precision = recall[::-1], precision[::-1]
    return np.repeat(recall, 2)[:-1], np.repeat(precision, 2)[1:]


@dataclass(frozen=True)
class _Rates:
    """A kind of curve: which metric is its area, and what its axes are."""

    name: str
    title: str
    metric: str
    axes: tuple[str, str]
    points: Callable[[pd.DataFrame, str], Points]


_CURVES = (
    _Rates("roc", "ROC curve", "roc_auc", ("false positive rate", "true positive rate"), _roc),
    _Rates("pr", "Precision-recall curve", "average_precision", ("recall", "precision"), _precision_recall),
)


def rate_curves(name: str, run: RunResults, positive: str | None) -> list[Figure]:
    """ROC and precision-recall, model and reference; none where the test split holds one class only.

    Two classes: of the positive label. More: of each label against the rest, averaged (macro).
    """
    rows = run.seeds[0].outputs
    present = [label for label in labels_of(rows) if 0 < (rows["label"] == label).sum() < len(rows)]
    wanted = [label for label in present if positive in (None, label)]
    return [_rate_figure(name, run, wanted, rates) for rates in _CURVES] if wanted else []


def _rate_figure(name: str, run: RunResults, labels: list[str], rates: _Rates) -> Figure:
    actual = run.seeds[0].outputs["label"]
    prevalence = float(np.mean([(actual == label).mean() for label in labels]))
    chance = GRID if rates.name == "roc" else np.full_like(GRID, prevalence)
    ours = [_mean_curve(rates.points, seed.outputs, labels) for seed in run.seeds]
    curves = [Curve(GRID, chance, "calm", "--", 1.0)]
    legend = [("accent", "line", f"fine-tuned, area {number(run.summary['metrics'][rates.metric]['mean'])}")]
    if REFERENCE in run.baselines:
        curves.append(Curve(*_mean_curve(rates.points, run.baselines[REFERENCE], labels), "contrast"))
        area = run.summary["baselines"][REFERENCE][rates.metric]["value"]
        legend.append(("contrast", "line", f"{baseline_name(REFERENCE)}, area {number(area)}"))
    curves += [Curve(*points, "accent", width=1.6) for points in ours]
    what = f"of “{labels[0]}”" if len(labels) == 1 else f"each class against the rest, mean of {len(labels)}"
    seeds = f"; {len(ours)} seeds, a line each" if len(ours) > 1 else ""
    return Figure(
        unit_square(f"{name}-{rates.name}", rates.title, curves, *rates.axes),
        f"{rates.title}, {what}{seeds}.",
        [*legend, ("calm", "dashed", "chance")],
    )


def _mean_curve(points: Callable[[pd.DataFrame, str], Points], rows: pd.DataFrame, labels: Sequence[str]) -> Points:
    """The curve of one label as it is; of several, their mean height over a grid."""
    curves = [points(rows, label) for label in labels]
    if len(curves) == 1:
        return curves[0]
    return GRID, np.mean([np.interp(GRID, x, y) for x, y in curves], axis=0)
