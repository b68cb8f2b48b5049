"""What more data give: the leading metric by how many rows were learned from."""

from dataclasses import dataclass
from typing import Any

from gptsmith.report.charts import Dots, growth_chart
from gptsmith.report.history import Figure
from gptsmith.report.wording import (
    ITEMS,
    Verdict,
    baseline_name,
    metric_name,
    signed,
    signed_interval,
    verdict,
    within_sentence,
)

Estimate = dict[str, Any]

BASELINE = baseline_name("tfidf_logistic_regression")


@dataclass(frozen=True)
class Point:
    """One size. `since_before` and its verdict are None for the smallest, `baseline` where there is none."""

    training_rows: int
    value: Estimate
    since_before: Estimate | None
    verdict: Verdict | None
    baseline: Estimate | None


@dataclass(frozen=True)
class CurveView:
    metric: str
    items: str
    seeds: int
    confidence: float
    lead: str
    points: list[Point]
    chart: Figure


def view(anchor: str, curve: dict[str, Any]) -> CurveView:
    """Of learning_curve.json; `anchor` begins the id of the chart."""
    metric, items = curve["metric"], ITEMS[curve["task"]]
    points = []
    for point in curve["points"]:
        step = point["since_before"]
        value = {"value": point["mean"], **{key: point[key] for key in ("low", "high", "standard_deviation")}}
        said = verdict(metric, step["low"], step["high"]) if step else None
        points.append(Point(point["training_rows"], value, step, said, point.get("baseline")))
    return CurveView(
        metric=metric_name(metric),
        items=items,
        seeds=len(curve["seeds"]),
        confidence=curve["confidence"],
        lead=_lead(points, metric, items),
        points=points,
        chart=_chart(anchor, points, metric_name(metric), items),
    )


def _lead(points: list[Point], metric: str, items: str) -> str:
    smaller, whole = points[-2:]
    step = whole.since_before
    assert step is not None
    found = f"{signed(step['difference'])} {signed_interval(step['low'], step['high'])}".strip()
    return (
        f"From {smaller.training_rows:,} to {whole.training_rows:,} training {items}: {whole.verdict}"
        f" (difference in {within_sentence(metric_name(metric))} {found})."
    )


def _chart(anchor: str, points: list[Point], metric: str, items: str) -> Figure:
    groups = [_dots([point.value for point in points], "accent")]
    legend = [("accent", "line", "fine-tuned")]
    baselines = [point.baseline for point in points if point.baseline is not None]
    if baselines:
        groups.append(_dots(baselines, "contrast"))
        legend.append(("contrast", "line", BASELINE))
    sizes = [point.training_rows for point in points]
    return Figure(
        svg=growth_chart(
            f"{anchor}-growth", f"{metric} by training {items}", sizes, groups, f"training {items}", metric
        ),
        caption=f"{metric} on the test split by the number of training {items}, with intervals.",
        legend=legend,
    )


def _dots(values: list[Estimate], role: str) -> Dots:
    value, low, high = ([entry[key] for entry in values] for key in ("value", "low", "high"))
    return Dots(value, role, low=low, high=high)
