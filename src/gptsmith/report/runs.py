"""What the report shows of one run, and of runs that share a dataset."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gptsmith.config.load import Config
from gptsmith.config.runs import LastBlocks, LoRAOnly, Run
from gptsmith.report.results import RunResults
from gptsmith.report.wording import (
    LEADING_METRIC,
    METRIC_NAMES,
    PROBABILITY_METRICS,
    Verdict,
    baseline_name,
    metric_name,
    number,
    signed,
    signed_interval,
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
class Discordant:
    """McNemar's test: how many items only one of two runs gets right."""

    only_ours: int
    only_theirs: int
    p_value: float
    verdict: Verdict


@dataclass(frozen=True)
class Pair:
    """Two runs on the same test items; the verdict is about `ours`, as is that of McNemar's test."""

    ours: str
    theirs: str
    difference: Estimate
    verdict: Verdict
    mcnemar: Discordant | None


@dataclass(frozen=True)
class Siblings:
    """Runs on one dataset side by side. `metric` is what `pairs` and `findings`, which are sentences, are about;
    `differs` are the settings besides the model."""

    dataset: str
    title: str
    columns: list[tuple[str, str]]  # run, its model and where that came from
    table: Table
    metric: str
    pairs: list[Pair]
    findings: list[str]
    differs: list[str]


def results_table(summary: dict[str, Any]) -> Table:
    """The run beside what it is compared with; classification also shows its validation split."""
    return _table(summary, [metric for metric in _known_first(summary["metrics"]) if metric not in PROBABILITY_METRICS])


def probability_table(summary: dict[str, Any]) -> Table:
    """The same of the metrics that are about a classifier's probabilities."""
    return _table(summary, [metric for metric in PROBABILITY_METRICS if metric in summary["metrics"]])


def _table(summary: dict[str, Any], metrics: list[str]) -> Table:
    others: dict[str, dict[str, Any]] = {}
    if summary.get("before"):
        others["before"] = summary["before"]
    others |= summary["baselines"]
    columns = ["Fine-tuned", *(baseline_name(name) for name in others)]
    validation = summary.get("validation") or {}
    rows = []
    for metric in metrics:
        cells = [estimate(summary["metrics"][metric]), *(estimate(other.get(metric)) for other in others.values())]
        rows.append((metric_name(metric), [*cells, *([estimate(validation.get(metric))] if validation else [])]))
    return Table([*columns, "Fine-tuned, validation"] if validation else columns, rows)


def comparisons(summary: dict[str, Any]) -> list[Comparison]:
    return _comparisons(row for row in summary["comparisons"] if row["metric"] not in PROBABILITY_METRICS)


def probability_comparisons(summary: dict[str, Any], against: str) -> list[Comparison]:
    rows = (row for row in summary["comparisons"] if row["metric"] in PROBABILITY_METRICS)
    return _comparisons(row for row in rows if row["against"] == against)


def _comparisons(rows: Iterable[dict[str, Any]]) -> list[Comparison]:
    return [
        Comparison(
            metric_name(row["metric"]),
            baseline_name(row["against"]),
            {"difference": row["difference"], "low": row["low"], "high": row["high"]},
            verdict(row["metric"], row["low"], row["high"]),
        )
        for row in rows
    ]


def settings_of(run: Run, task: str) -> list[tuple[str, str]]:
    """Every setting of the run that its task has, defaults included, as (name, value)."""
    others = {"loss_on", "generation"} if task == "classification" else {"class_weights"}
    settings = _dumped(run, others)
    return [(key.removeprefix("training.").replace("_", " "), value) for key, value in settings.items()]


def siblings(config: Config, runs: list[RunResults], compared: list[dict[str, Any]]) -> list[Siblings]:
    """The runs of each dataset that has several, side by side; `compared` are the contents of comparisons.json."""
    by_name = {run.name: run for run in runs}
    return [_siblings(config, by_name, found) for found in compared]


def _siblings(config: Config, by_name: dict[str, RunResults], compared: dict[str, Any]) -> Siblings:
    runs = [run for run in by_name.values() if run.summary["dataset"] == compared["dataset"]]
    origin = {run.name: ORIGINS[config.models[run.summary["model"]].origin] for run in runs}
    metrics = _known_first(runs[0].summary["metrics"])
    rows = [(metric_name(m), [estimate(run.summary["metrics"].get(m)) for run in runs]) for m in metrics]
    flat = [_dumped(config.runs[run.name], {"model", "seeds"}) for run in runs]
    random = {run.name for run in runs if config.models[run.summary["model"]].random}
    metric = LEADING_METRIC[runs[0].summary["task"]]
    # Of a run and one without pretraining, the latter is what the other is compared with.
    pairs = [
        _pair(found, metric, 1 - compared["confidence"], found["runs"][0] in random) for found in compared["pairs"]
    ]
    return Siblings(
        dataset=compared["dataset"],
        title="What pretraining gives" if 0 < len(random) < len(runs) else "Runs on the same dataset",
        columns=[(run.name, f"{run.summary['model']}: {origin[run.name]}") for run in runs],
        table=Table([run.name for run in runs], rows),
        metric=metric_name(metric),
        pairs=pairs,
        findings=[_finding(p, metric, by_name) for p in pairs if p.theirs in random and p.ours not in random],
        differs=sorted({key for one in flat for key in one if any(one[key] != other.get(key) for other in flat)}),
    )


def _pair(found: dict[str, Any], metric: str, significance: float, swapped: bool) -> Pair:
    """`swapped`: the second run is ours, and the first is what it is compared with."""
    (ours, theirs), difference, counts = found["runs"], found["differences"][metric], found.get("mcnemar")
    tested = _tested(counts["only_first"], counts["only_second"], counts["p_value"], significance) if counts else None
    pair = Pair(ours, theirs, difference, verdict(metric, difference["low"], difference["high"]), tested)
    return _turned(pair) if swapped else pair


def _tested(only_ours: int, only_theirs: int, p_value: float, significance: float) -> Discordant:
    said: Verdict = "better" if only_ours > only_theirs else "worse"
    return Discordant(only_ours, only_theirs, p_value, said if p_value < significance else "no difference found")


def _turned(pair: Pair) -> Pair:
    """The same with the other run as ours."""
    one, low, high = (pair.difference[key] for key in ("difference", "low", "high"))
    difference = {"difference": _minus(one), "low": _minus(high), "high": _minus(low)}
    tested = pair.mcnemar
    if tested is not None:
        tested = Discordant(tested.only_theirs, tested.only_ours, tested.p_value, OPPOSITE[tested.verdict])
    return Pair(pair.theirs, pair.ours, difference, OPPOSITE[pair.verdict], tested)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


OPPOSITE: dict[Verdict, Verdict] = {
    "better": "worse",
    "worse": "better",
    "no difference found": "no difference found",
    "undefined": "undefined",
}


ORIGINS = {
    "pretrain": "pretrained in this pipeline",
    "huggingface": "imported from a hub repository",
    "path": "imported from a folder",
    "gguf": "imported from a GGUF file",
    "random": "random weights",
}


def _finding(pair: Pair, metric: str, by_name: dict[str, RunResults]) -> str:
    ours, theirs = (by_name[name].summary["metrics"][metric]["mean"] for name in (pair.ours, pair.theirs))
    values = f"{metric_name(metric)} of {pair.ours} {number(ours)}, of {pair.theirs} (random weights) {number(theirs)}"
    if pair.verdict == "undefined":
        return f"{values}: without an interval to judge by."
    gap = pair.difference
    said = pair.verdict if pair.verdict == "no difference found" else f"{pair.ours} is {pair.verdict}"
    return f"{values}: {said} (difference {signed(gap['difference'])} {signed_interval(gap['low'], gap['high'])})."


def estimate(entry: Mapping[str, Any] | None) -> Estimate | None:
    """One shape for the summary's `mean` (over seeds) and `value`."""
    if entry is None:
        return None
    keys = ("low", "high", "standard_deviation")
    return {"value": entry["mean"] if "mean" in entry else entry["value"], **{key: entry.get(key) for key in keys}}


def _known_first(metrics: Mapping[str, Any]) -> list[str]:
    return [name for name in METRIC_NAMES if name in metrics] + sorted(set(metrics) - set(METRIC_NAMES))


def _dumped(run: Run, without: set[str]) -> dict[str, str]:
    settings = run.model_dump(mode="json", exclude=without | {"grid", "learning_curve"})
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
