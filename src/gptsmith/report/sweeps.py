"""The combinations of a run's grid, ranked by the validation split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptsmith.config.load import Config
from gptsmith.report.charts import Dots, dot_chart
from gptsmith.report.history import Figure
from gptsmith.report.results import read_object
from gptsmith.report.wording import ITEMS, Verdict, metric_name, verdict, within_sentence

Estimate = dict[str, Any]

MOST_DOTS = 30


@dataclass(frozen=True)
class Member:
    """A combination: its values, its metrics (in the order of the view's), and how far it is from the chosen one."""

    values: list[str]
    metrics: list[Estimate]
    difference: Estimate
    verdict: Verdict | None
    """None for the chosen one."""


@dataclass(frozen=True)
class SweepView:
    paths: list[str]
    metrics: list[str]
    rows: int
    items: str
    confidence: float
    seeds: int
    lead: str
    members: list[Member]
    chart: Figure


def read_sweep(results: Path, run: str) -> dict[str, Any]:
    """sweep.json of a run with a grid. Raises UserError when it is missing."""
    return read_object(results / run / "sweep.json")


def with_chosen(config: Config, results: Path) -> Config:
    """The config with the combination that was chosen in the place of each run's grid."""
    runs = {
        name: run.chosen(read_sweep(results, name)["members"][0]["settings"]) if run.grid else run
        for name, run in config.runs.items()
    }
    return config.model_copy(update={"runs": runs})


def view(anchor: str, sweep: dict[str, Any]) -> SweepView:
    """`anchor` begins the id of the chart."""
    leading = sweep["metric"]
    names = [leading, *(name for name in sweep["members"][0]["metrics"] if name != leading)]
    paths = list(sweep["members"][0]["settings"])
    members = []
    for place, member in enumerate(sweep["members"]):
        difference = member["difference"]
        said = verdict(leading, difference["low"], difference["high"]) if place else None
        values = [_words(member["settings"][path]) for path in paths]
        metrics = [_estimate(member["metrics"][name]) for name in names]
        members.append(Member(values, metrics, difference, said))
    shown_paths = [path.removeprefix("training.").replace("_", " ") for path in paths]
    shown_names = [_name(name, sweep["task"]) for name in names]
    return SweepView(
        paths=shown_paths,
        metrics=shown_names,
        rows=sweep["rows"],
        items=ITEMS[sweep["task"]],
        confidence=sweep["confidence"],
        seeds=len(sweep["seeds"]),
        lead=_lead(shown_paths, shown_names[0], members),
        members=members,
        chart=_chart(anchor, members[:MOST_DOTS], shown_names[0], len(members)),
    )


def _chart(anchor: str, members: list[Member], metric: str, n_members: int) -> Figure:
    values, lows, highs = ([member.metrics[0][key] for member in members] for key in ("value", "low", "high"))
    others = [None, *values[1:]]
    groups = [Dots(values[:1] + [None] * len(values[1:]), "accent", "o", lows[:1], highs[:1])]
    if len(members) > 1:
        groups.append(Dots(others, "calm", "o", [None, *lows[1:]], [None, *highs[1:]]))
    rows = [", ".join(member.values) for member in members]
    caption = f"{metric} on the validation split, the best first, each with its own interval."
    if n_members > len(members):
        caption += f" The best {len(members)} of {n_members}."
    return Figure(
        svg=dot_chart(f"{anchor}-sweep", "Combinations of the grid", rows, groups, f"{metric}, validation split"),
        caption=caption,
        legend=[("accent", "disc", "chosen"), *([("calm", "disc", "others")] if len(members) > 1 else [])],
    )


def _name(metric: str, task: str) -> str:
    return "Loss (nats per text)" if (metric, task) == ("loss", "classification") else metric_name(metric)


def _lead(paths: list[str], metric: str, members: list[Member]) -> str:
    chosen = ", ".join(f"{path} {value}" for path, value in zip(paths, members[0].values, strict=True))
    close = sum(member.verdict == "no difference found" for member in members)
    text = f"Of {len(members)} combinations this one was chosen: {chosen}."
    if close:
        name = within_sentence(metric)
        text += f" Of the others, {close} had no difference in {name} from it that the validation split could show."
    return text


def _estimate(entry: Estimate) -> Estimate:
    return {"value": entry["mean"], **{key: entry[key] for key in ("low", "high", "standard_deviation")}}


def _words(value: Any) -> str:
    """`{"last_blocks": 1}` -> `last_blocks 1`."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)
