"""How much of a run's figures is due to test items that are nearly training items."""

from dataclasses import dataclass
from typing import Any

from gptsmith.report.runs import Table, estimate
from gptsmith.report.wording import PROBABILITY_METRICS, baseline_name, metric_name


@dataclass(frozen=True)
class NearCopies:
    """`copies` of the test items, all the others being `rows`; no table where either is 0."""

    copies: int
    rows: int
    similarity: float
    table: Table | None


def near_copies(summary: dict[str, Any], prepared: dict[str, Any]) -> NearCopies | None:
    """None where the dataset was not searched for near-duplicates; `prepared` is its report.json."""
    found = summary.get("without_near_copies")
    if found is None:
        return None
    columns = [
        "Fine-tuned, all",
        "Fine-tuned, without them",
        *(f"{baseline_name(b)}, without" for b in found["baselines"]),
    ]
    rows = [
        (
            metric_name(metric),
            [
                estimate({key: summary["metrics"][metric][key] for key in ("mean", "low", "high")}),
                estimate(rest),
                *(estimate(baseline.get(metric)) for baseline in found["baselines"].values()),
            ],
        )
        for metric, rest in found["metrics"].items()
        if metric not in PROBABILITY_METRICS
    ]
    return NearCopies(
        found["near_copies"],
        found["rows"],
        prepared["near_duplicates"]["similarity"],
        Table(columns, rows) if rows else None,
    )
