"""The table of an ablation: what each part gives, and what it costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptsmith.report.charts import Curve, Dots, dot_chart, line_chart
from gptsmith.report.history import Figure
from gptsmith.report.results import read_object
from gptsmith.report.wording import Verdict, memory, number, signed, signed_interval, verdict

Estimate = dict[str, Any]

ANCHOR = "ablation"
# Of the baseline first; what stands beside each other in the legend differs by colour.
LINES = [(role, style) for style in ("-", "--") for role in ("ink", "accent", "contrast", "good")]
SHAPE_OF_LINE = {"-": "line", "--": "dashed"}


@dataclass(frozen=True)
class Training:
    """Of one variant with one seed."""

    name: str
    seed: int
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Row:
    name: str
    changes: str
    """Nothing for the baseline, and the next two None."""
    difference: Estimate | None
    verdict: Verdict | None
    """What the interval says, if all seeds agree."""
    speed_ratio: Estimate | None
    parameters: int
    loss: Estimate
    tokens_per_second: Estimate
    memory: str
    cache_bytes: int


@dataclass(frozen=True)
class AblationView:
    model: str
    split: str
    windows: int
    tokens: int
    seeds: int
    confidence: float
    device: str
    threads: int
    rounds: int
    lead: str
    rows: list[Row]
    figures: list[Figure]
    trainings: list[Training]


def view(summary: dict[str, Any], provenance: list[Path]) -> AblationView:
    """provenance: files <variant>/seed-<seed>/provenance.json."""
    rows = [_row(entry) for entry in summary["rows"]]
    return AblationView(
        **{key: summary[key] for key in ("model", "split", "windows", "tokens", "confidence", "device", "threads")},
        seeds=len(summary["seeds"]),
        rounds=summary["rounds"],
        lead=_lead(rows),
        rows=rows,
        figures=[_differences(rows), _courses(summary["rows"])],
        trainings=[
            Training(path.parents[1].name, int(path.parent.name.removeprefix("seed-")), read_object(path))
            for path in provenance
        ],
    )


def _row(entry: dict[str, Any]) -> Row:
    loss, difference = entry["loss"], entry["difference"]
    return Row(
        name=entry["name"],
        changes=", ".join(f"{key}: {_yaml(value)}" for key, value in entry["changes"].items()),
        difference=difference,
        verdict=None if difference is None else _said(difference),
        speed_ratio=entry["speed_ratio"],
        parameters=entry["parameters"],
        loss={"value": loss["mean"], **{key: loss[key] for key in ("low", "high", "standard_deviation")}},
        tokens_per_second=entry["tokens_per_second"],
        memory=memory(None if entry["step_bytes"] is None else entry["step_bytes"] / 2**20),
        cache_bytes=entry["cache_bytes"],
    )


def _said(difference: Estimate) -> Verdict:
    signs = {value > 0 for value in difference["by_seed"].values()}
    return verdict("loss", difference["low"], difference["high"]) if len(signs) == 1 else "no difference found"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _lead(rows: list[Row]) -> str:
    """In words, the largest differences first."""
    found = [(row.name, row.verdict, row.difference) for row in rows if row.difference]
    found.sort(key=lambda one: -abs(one[2]["difference"]))
    parts = []
    for word, said in (("lower", "better"), ("higher", "worse")):
        if named := [f"{name} ({_told(difference)})" for name, its, difference in found if its == said]:
            parts.append(f"{word} than the baseline's with {', '.join(named)}")
    if alike := [name for name, its, _ in found if its == "no difference found"]:
        parts.append(f"no different, so far as can be seen, with {', '.join(alike)}")
    return f"The loss is {'; '.join(parts)}."


def _told(difference: Estimate) -> str:
    interval = signed_interval(difference["low"], difference["high"])
    return f"{signed(difference['difference'])} {interval}".strip()


def _differences(rows: list[Row]) -> Figure:
    named = [(row.name, row.difference) for row in rows if row.difference]
    values, lows, highs = ([difference[key] for _, difference in named] for key in ("difference", "low", "high"))
    return Figure(
        svg=dot_chart(
            f"{ANCHOR}-differences",
            "Difference of each variant's loss from the baseline's",
            [name for name, _ in named],
            [Dots(values, "accent", "o", lows, highs)],
            "difference of the loss from the baseline's, nats per token",
        ),
        caption="What each variant changes in the loss, with the interval of the paired difference; less is better.",
        legend=[("accent", "disc", "difference")],
    )


def _courses(rows: list[dict[str, Any]]) -> Figure:
    """Without the first point: before any step all know nothing."""
    shown = list(zip(rows, LINES, strict=False))
    curves = []
    for row, (role, style) in shown:
        tokens, losses = np.array(row["course"][1:], dtype=np.float64).reshape(-1, 2).T
        curves.append(Curve(tokens, losses, role, style))
    ends = ", ".join(f"{row['name']} {number(row['course'][-1][1])}" for row, _ in shown if row["course"])
    caption = f"Validation loss while pretraining, the mean over the seeds. At the end: {ends}."
    if len(rows) > len(shown):
        caption += f" The first {len(shown)} of {len(rows)} rows."
    return Figure(
        svg=line_chart(
            f"{ANCHOR}-courses", "Validation loss over tokens", curves, "tokens seen", "loss, nats per token"
        ),
        caption=caption,
        legend=[(role, SHAPE_OF_LINE[style], row["name"]) for row, (role, style) in shown],
    )
