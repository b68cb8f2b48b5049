"""Numbers and verdicts in words. A verdict follows the interval of the paired difference, never the
two values alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Verdict = Literal["better", "worse", "no difference found", "undefined"]

METRIC_NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss (nats)",
    "brier_score": "Brier score",
    "calibration_error": "Calibration error (ECE)",
    "loss": "Loss (nats per token)",
    "perplexity": "Perplexity",
    "exact_match": "Exact match",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "judge_score": "Judge's score (0 to 100)",
}
METRIC_MEANINGS = {
    "f1": "precision and recall in one, from 0 to 1 (their harmonic mean)",
    "exact_match": "the share of responses that are, word for word, the reference",
}
# About the probabilities and not the answers: they have a section of their own.
PROBABILITY_METRICS = ("log_loss", "brier_score", "calibration_error")
LOWER_IS_BETTER = frozenset({"loss", "perplexity", *PROBABILITY_METRICS})
BASELINE_NAMES = {
    "majority": "Majority class",
    "tfidf_logistic_regression": "TF-IDF + logistic regression",
    "majority_answer": "Majority answer",
    "nearest_neighbour": "Nearest neighbour",
    "before": "Before fine-tuning",
}
LEADING_METRIC = {"classification": "f1", "instruction": "exact_match"}
TASKS = {"classification": "classification", "instruction": "following instructions"}
ITEMS = {"classification": "texts", "instruction": "items"}

# A lead of the baseline that is named in words even where the interval does not settle it.
NOTABLE_LEAD = 0.02


def metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def baseline_name(baseline: str) -> str:
    return BASELINE_NAMES.get(baseline, baseline.replace("_", " "))


def within_sentence(name: str) -> str:
    """`Nearest neighbour` -> `nearest neighbour`; names like `F1`, `ROC AUC`, `TF-IDF ...` stay."""
    return name if name[1:2].isupper() or name[1:2].isdigit() else name[:1].lower() + name[1:]


def number(value: float | None) -> str:
    """Three decimals, fewer for large values; a dash where the value is undefined."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def signed(value: float | None) -> str:
    """The number with its sign (a real minus sign)."""
    if value is None:
        return "–"
    return ("−" if value < 0 else "+") + number(abs(value))


def interval(low: float | None, high: float | None) -> str:
    """`[0.902, 0.955]`, or nothing where it is undefined."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def signed_interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def duration(seconds: float | None) -> str:
    """`0.8 s`, `42 s`, `3 min 05 s` or `1 h 02 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(timestamp: str) -> str:
    """ISO 8601 to the minute, as it reads: `2025-03-01 10:20 UTC`."""
    return datetime.fromisoformat(timestamp).strftime("%Y-%m-%d %H:%M %Z").strip()


def times(factor: float) -> str:
    """`1.2 times`, `0.47 times`."""
    return f"{factor:.1f} times" if factor >= 1 else f"{factor:.2f} times"


def memory(mebibytes: float | None) -> str:
    """From MiB, in which Snakemake and provenance.json count it, to `912 MB` or `1.2 GB`, as `gptsmith check` says."""
    if mebibytes is None:
        return "–"
    megabytes = mebibytes * 2**20 / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def verdict(metric: str, low: float | None, high: float | None) -> Verdict:
    """What the interval of (ours - theirs) says about ours; an interval that holds 0 says nothing."""
    if low is None or high is None:
        return "undefined"
    if low <= 0 <= high:
        return "no difference found"
    return "better" if (low > 0) != (metric in LOWER_IS_BETTER) else "worse"


def strongest(values: Mapping[str, float | None]) -> str | None:
    """The baseline with the highest value (of F1, exact match, ...), if any has one."""
    defined = {name: value for name, value in values.items() if value is not None}
    return max(defined, key=lambda name: defined[name]) if defined else None


@dataclass(frozen=True)
class Against:
    """An opponent with its value, and what the paired difference says of our run."""

    opponent: str
    verdict: Verdict
    difference: str


@dataclass(frozen=True)
class Headline:
    """A run in one sentence: `result` — `opponent`: `verdict` (difference ...); ..."""

    result: str
    against: list[Against]

    def __str__(self) -> str:
        parts = [f"{one.opponent}: {one.verdict} (difference {one.difference})" for one in self.against]
        return f"{self.result} — {'; '.join(parts) or 'nothing to compare with'}."


def headline(summary: dict[str, Any]) -> Headline:
    """The run's leading metric against its strongest baseline and, for instructions, the base model."""
    task, metric = summary["task"], LEADING_METRIC[summary["task"]]
    ours = summary["metrics"][metric]
    seeds = len(summary["seeds"])
    value = (
        f"{within_sentence(metric_name(metric))} {number(ours['mean'])} {interval(ours['low'], ours['high'])}".strip()
    )
    rows = f"{summary['rows']:,} {ITEMS[task]}"
    return Headline(f"{value} on {rows}{f', mean of {seeds} seeds' if seeds > 1 else ''}", _against(summary, metric))


def _against(summary: dict[str, Any], metric: str) -> list[Against]:
    values = _values_of_baselines(summary, metric)
    opponents = ["before"] if summary.get("before") else []
    if best := strongest(values):
        opponents.append(best)
    if summary.get("before"):
        values["before"] = summary["before"][metric]["value"]
    found = [(opponent, comparison(summary, metric, opponent)) for opponent in opponents]
    return [
        Against(
            opponent=f"{within_sentence(baseline_name(opponent))} {number(values[opponent])}",
            verdict=verdict(metric, row["low"], row["high"]),
            difference=f"{signed(row['difference'])} {signed_interval(row['low'], row['high'])}".strip(),
        )
        for opponent, row in found
        if row is not None
    ]


def _values_of_baselines(summary: dict[str, Any], metric: str) -> dict[str, float | None]:
    return {name: values[metric]["value"] for name, values in summary["baselines"].items() if metric in values}


def comparison(summary: dict[str, Any], metric: str, against: str) -> dict[str, Any] | None:
    """The paired comparison of `metric` with `against`, where there is one."""
    rows = [row for row in summary["comparisons"] if (row["metric"], row["against"]) == (metric, against)]
    return rows[0] if rows else None


def warning(summary: dict[str, Any]) -> str | None:
    """Plain words for a run that does not reach its strongest baseline, and what that rests on."""
    metric = LEADING_METRIC[summary["task"]]
    values = _values_of_baselines(summary, metric)
    baseline = strongest(values)
    found = comparison(summary, metric, baseline) if baseline else None
    if baseline is None or found is None or found["difference"] is None or found["difference"] >= -NOTABLE_LEAD:
        return None
    said = verdict(metric, found["low"], found["high"])
    theirs, ours = number(values[baseline]), number(summary["metrics"][metric]["mean"])
    seeds = len(summary["seeds"])
    side = f"the mean of {seeds} seeds" if seeds > 1 else "one seed"
    basis = (
        f"{within_sentence(metric_name(metric))} {theirs} against {ours}, difference {signed(found['difference'])}"
        f" {signed_interval(found['low'], found['high'])}. Both were measured on the same {summary['rows']:,} test"
        f" {ITEMS[summary['task']]}; the fine-tuned side is {side}."
    )
    name = baseline_name(baseline)
    if said == "worse":
        return f"{name} is better than the fine-tuned model here: {basis}"
    return f"{name} scored higher here: {basis} The interval holds 0, so chance is not ruled out."
