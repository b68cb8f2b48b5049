"""What the report shows of one run, and of runs that share a dataset."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gptsmith.config.load import Config
from gptsmith.config.runs import LastBlocks, LoRAOnly, Run
from gptsmith.report.results import RunResults
from gptsmith.report.wording import (
    LEADING_METRIC,
    LOWER_IS_BETTER,
    METRIC_NAMES,
    Verdict,
    baseline_name,
    metric_name,
    number,
    signed,
    verdict,
)

Estimate = dict[str, float | None]


@dataclass(frozen=True)
class Table:
    """Metrics in rows. A cell is an estimate (value, low, high, standard_deviation) or None."""

    columns: list[str]
    rows: list[tuple[str, list[Estimate | None]]]


@dataclass(frozen=True)
class Comparison:
    metric: str
    against: str
    difference: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Siblings:
    """Runs on one dataset side by side. `findings` are sentences, `differs` the settings besides the model."""

    dataset: str
    title: str
    columns: list[tuple[str, str]]  # run, its model and where that came from
    table: Table
    findings: list[str]
    differs: list[str]


def results_table(summary: dict[str, Any]) -> Table:
    """The run beside what it is compared with; classification also shows its validation split."""
    others: dict[str, dict[str, Any]] = {}
    if summary.get("before"):
        others["before"] = summary["before"]
    others |= summary["baselines"]
    columns = ["Fine-tuned", *(baseline_name(name) for name in others)]
    validation = summary.get("validation") or {}
    rows = []
    for metric in _known_first(summary["metrics"]):
        cells = [_estimate(summary["metrics"][metric]), *(_estimate(other.get(metric)) for other in others.values())]
        rows.append((metric_name(metric), [*cells, *([_estimate(validation.get(metric))] if validation else [])]))
    return Table([*columns, "Fine-tuned, validation"] if validation else columns, rows)


def comparisons(summary: dict[str, Any]) -> list[Comparison]:
    return [
        Comparison(
            metric_name(row["metric"]),
            baseline_name(row["against"]),
            {"difference": row["difference"], "low": row["low"], "high": row["high"]},
            verdict(row["metric"], row["low"], row["high"]),
        )
        for row in summary["comparisons"]
    ]


def settings_of(run: Run, task: str) -> list[tuple[str, str]]:
    """Every setting of the run that its task has, defaults included, as (name, value)."""
    others = {"loss_on", "generation"} if task == "classification" else {"class_weights"}
    settings = _dumped(run, others)
    return [(key.removeprefix("training.").replace("_", " "), value) for key, value in settings.items()]


def siblings(config: Config, runs: list[RunResults]) -> list[Siblings]:
    """For every dataset with two runs or more, those runs side by side."""
    by_dataset: dict[str, list[RunResults]] = {}
    for run in runs:
        by_dataset.setdefault(run.summary["dataset"], []).append(run)
    return [_siblings(config, dataset, group) for dataset, group in by_dataset.items() if len(group) > 1]


def _siblings(config: Config, dataset: str, runs: list[RunResults]) -> Siblings:
    origin = {run.name: ORIGINS[config.models[run.summary["model"]].origin] for run in runs}
    metrics = _known_first(runs[0].summary["metrics"])
    rows = [(metric_name(m), [_estimate(run.summary["metrics"].get(m)) for run in runs]) for m in metrics]
    flat = [_dumped(config.runs[run.name], {"model", "seeds"}) for run in runs]
    random = [run for run in runs if config.models[run.summary["model"]].random]
    others = [run for run in runs if run not in random]
    return Siblings(
        dataset=dataset,
        title="What pretraining gives" if random and others else "Runs on the same dataset",
        columns=[(run.name, f"{run.summary['model']}: {origin[run.name]}") for run in runs],
        table=Table([run.name for run in runs], rows),
        findings=[_finding(ours, theirs) for ours in others for theirs in random],
        differs=sorted({key for one in flat for key in one if any(one[key] != other.get(key) for other in flat)}),
    )


ORIGINS = {
    "pretrain": "pretrained in this pipeline",
    "huggingface": "imported from a hub repository",
    "path": "imported from a folder",
    "random": "random weights",
}


def _finding(ours: RunResults, theirs: RunResults) -> str:
    """Two runs by their own intervals. Apart, they differ; overlapping, they may or may not."""
    metric = LEADING_METRIC[ours.summary["task"]]
    a, b = ours.summary["metrics"][metric], theirs.summary["metrics"][metric]
    values = f"{number(a['mean'])}, of {theirs.name} (random weights) {number(b['mean'])}"
    start = f"{metric_name(metric)} of {ours.name} {values}"
    if None in (a["mean"], b["mean"], a["low"], b["low"]):
        return f"{start}, without intervals to judge by."
    start += f": {signed(a['mean'] - b['mean'])}"
    if a["low"] > b["high"] or b["low"] > a["high"]:
        higher = (a["low"] > b["high"]) != (metric in LOWER_IS_BETTER)
        return f"{start}. The intervals are apart: {ours.name} is {'better' if higher else 'worse'}."
    return f"{start}. The intervals overlap: no difference found."


def _estimate(entry: Mapping[str, Any] | None) -> Estimate | None:
    """One shape for the summary's `mean` (over seeds) and `value`."""
    if entry is None:
        return None
    keys = ("low", "high", "standard_deviation")
    return {"value": entry["mean"] if "mean" in entry else entry["value"], **{key: entry.get(key) for key in keys}}


def _known_first(metrics: Mapping[str, Any]) -> list[str]:
    return [name for name in METRIC_NAMES if name in metrics] + sorted(set(metrics) - set(METRIC_NAMES))


def _dumped(run: Run, without: set[str]) -> dict[str, str]:
    settings = run.model_dump(mode="json", exclude=without)
    if isinstance(run.trainable, LastBlocks):
        blocks = run.trainable.last_blocks
        settings["trainable"] = f"last {blocks} blocks" if blocks > 1 else "last block"
    elif isinstance(run.trainable, LoRAOnly):
        settings["trainable"] = f"LoRA, rank {run.trainable.lora.rank}, alpha {run.trainable.lora.alpha:g}"
    return dict(_flat(settings))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        elif isinstance(inner, list):
            yield f"{prefix}{key}", ", ".join(map(str, inner))
        else:
            yield f"{prefix}{key}", f"{inner:g}" if isinstance(inner, float) else "–" if inner is None else str(inner)
