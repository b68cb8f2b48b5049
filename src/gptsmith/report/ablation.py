"""The table of an ablation: what each part gives, and what it costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptsmith.config.load import Config
from gptsmith.report.charts import Curve, Dots, dot_chart, line_chart
from gptsmith.report.history import Figure
from gptsmith.report.models import facts_of
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
    """Nothing for the baseline, and the next three None."""
    difference: Estimate | None
    verdict: Verdict | None
    """What the intervals say, that over the windows and that over the seeds."""
    speed_ratio: Estimate | None
    parameters: int
    loss: Estimate
    tokens_per_second: Estimate
    memory: str
    cache_bytes: int


@dataclass(frozen=True)
class AblationView:
    model: str
    facts: list[tuple[str, str]]
    """Of the model that is varied."""
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


def view(summary: dict[str, Any], config: Config, provenance: list[Path]) -> AblationView:
    """provenance: files <variant>/seed-<seed>/provenance.json."""
    rows, model = [_row(entry) for entry in summary["rows"]], config.models[summary["model"]]
    return AblationView(
        **{key: summary[key] for key in ("model", "split", "windows", "tokens", "confidence", "device", "threads")},
        facts=facts_of(model, config.tokenizers[model.tokenizer]),
        seeds=len(summary["seeds"]),
        rounds=summary["rounds"],
        lead=_lead(rows, len(summary["seeds"])),
        rows=rows,
        figures=[_differences(rows), *_courses(summary["rows"])],
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
    of_windows = verdict("loss", difference["low"], difference["high"])
    of_seeds = verdict("loss", difference["seeds_low"], difference["seeds_high"])
    return of_windows if of_windows in (of_seeds, "undefined") else "no difference found"


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _lead(rows: list[Row], seeds: int) -> str:
    """In words, the largest differences first."""
    if seeds == 1:
        return "One seed tells no difference from the luck of its weights: no verdicts."
    found = [(row.name, row.verdict, row.difference) for row in rows if row.difference]
    found.sort(key=lambda one: -abs(one[2]["difference"]))
    parts = []
    for word, said in (("lower", "better"), ("higher", "worse")):
        if named := [f"{name} ({_told(difference)})" for name, its, difference in found if its == said]:
            parts.append(f"{word} than the baseline's with {', '.join(named)}")
    if alike := [name for name, its, _ in found if its == "no difference found"]:
        parts.append(f"no different, so far as can be seen, with {', '.join(alike)}")
    return f"The loss is {'; '.join(parts)}." if parts else "No difference of the losses is defined."


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
        caption="What each variant changes in the loss, with its paired interval over the windows; less is better.",
        legend=[("accent", "disc", "difference")],
    )


def _courses(rows: list[dict[str, Any]]) -> list[Figure]:
    """Without the first point: before any step all know nothing. No figure where there was no validation."""
    shown = list(zip((row for row in rows if row["course"][1:]), LINES, strict=False))
    if not shown:
        return []
    curves = []
    for row, (role, style) in shown:
        tokens, losses = np.array(row["course"][1:], dtype=np.float64).reshape(-1, 2).T
        curves.append(Curve(tokens, losses, role, style))
    ends = ", ".join(f"{row['name']} {number(row['course'][-1][1])}" for row, _ in shown)
    caption = (
        f"Validation loss while pretraining, the mean over the seeds as far as all went. At its last point: {ends}."
    )
    if len(rows) > len(shown):
        caption += f" The first {len(shown)} of {len(rows)} rows."
    svg = line_chart(f"{ANCHOR}-courses", "Validation loss over tokens", curves, "tokens seen", "loss, nats per token")
    return [Figure(svg, caption, [(role, SHAPE_OF_LINE[style], row["name"]) for row, (role, style) in shown])]


def in_order(settings: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """The config with the variants in the order of their rows."""
    ablation = settings["ablation"]
    order = [row["name"] for row in summary["rows"]]
    variants = dict(sorted(ablation["variants"].items(), key=lambda variant: order.index(variant[0])))
    return settings | {"ablation": ablation | {"variants": variants}}
