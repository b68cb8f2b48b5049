"""Learning curves from the logged steps of a training."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from gptsmith.report.charts import Curve, line_chart

Array = npt.NDArray[np.float64]

MOST_POINTS = 200


@dataclass(frozen=True)
class Figure:
    """A chart with what stands under it. A legend entry is (role, style, text)."""

    svg: Markup
    caption: str
    legend: list[tuple[str, str, str]]


def learning_curves(name: str, histories: dict[int, pd.DataFrame], items: str) -> list[Figure]:
    """Loss over the steps, and accuracy where it was logged; one line a seed and split.

    `items` is what the loss is averaged over (`token`, `text`).
    """
    figures = []
    for column, label in [("loss", f"loss, nats per {items}"), ("accuracy", "accuracy")]:
        rows = {seed: history.dropna(subset=[column]) for seed, history in histories.items()}
        if any(len(history) for history in rows.values()):
            figures.append(_figure(f"{name}-{column}", column, label, rows))
    return figures


def _figure(name: str, column: str, label: str, histories: dict[int, pd.DataFrame]) -> Figure:
    best_of = np.argmin if column == "loss" else np.argmax
    curves, averaged, splits = [], 1, set()
    for history in histories.values():
        training, group = _thinned(history[history["split"] == "train"], column)
        averaged = max(averaged, group)
        validation = history[history["split"] == "validation"]
        if len(training):
            splits.add("training")
            curves.append(Curve(*_points(training, column), "calm", width=1.1, opacity=0.8))
        if len(validation):
            splits.add("validation")
            best = int(best_of(validation[column].to_numpy()))
            curves.append(Curve(*_points(validation, column), "accent", mark=best))
    caption = (
        f"{column.capitalize()} while training{f', {len(histories)} seeds, a line each' if len(histories) > 1 else ''}."
    )
    if "validation" in splits:
        caption += " The dot marks the best validation value."
    if averaged > 1:
        caption += f" Each point of the training curve is the mean of {averaged} logged steps."
    legend = [("calm", "line", "training"), ("accent", "line", "validation")]
    return Figure(
        svg=line_chart(
            name,
            f"{column.capitalize()} over optimizer steps",
            curves,
            "optimizer step",
            label,
            (0, 1.01) if column == "accuracy" else None,
        ),
        caption=caption,
        legend=[entry for entry in legend if entry[2] in splits],
    )


def _points(history: pd.DataFrame, column: str) -> tuple[Array, Array]:
    return history["step"].to_numpy(np.float64), history[column].to_numpy(np.float64)


def _thinned(history: pd.DataFrame, column: str) -> tuple[pd.DataFrame, int]:
    """At most MOST_POINTS points, each the mean of so many logged steps."""
    group = max(1, -(-len(history) // MOST_POINTS))
    return history[["step", column]].groupby(np.arange(len(history)) // group).mean(), group
