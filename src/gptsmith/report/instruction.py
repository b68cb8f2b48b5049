"""What an instruction run answers: results by category, how the texts look, what a judge says, and answers beside
their references."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from gptsmith.report.charts import Dots, dot_chart
from gptsmith.report.history import Figure
from gptsmith.report.results import RunResults
from gptsmith.report.runs import Table
from gptsmith.report.wording import METRIC_NAMES, Verdict, strongest, verdict

MOST_CATEGORIES_WITH_EXAMPLES = 20
SCORES = ("rouge_l", "chrf", "judge_score")
"""Besides exact match, where a run has them."""

TEXT_STATISTICS = {
    "mean_words": "Words, mean",
    "median_words": "Words, median",
    "cut_off": "Stopped at the length limit",
    "empty": "Empty",
    "repeating": "Repeat four words in a row",
    "repeated_spans": "Repeated among all four words in a row",
    "copying": "Copy the prompt",
    "distinct_2": "Different pairs of words for each word",
}
TEXT_SIDES = {"fine_tuned": "Fine-tuned", "before": "Before fine-tuning", "reference": "Reference"}


@dataclass(frozen=True)
class CategoryRow:
    """Exact match in one category, and the other scores as (name, mean). `against` is the stronger baseline there."""

    category: str
    rows: int
    exact_match: dict[str, float | None]
    scores: list[tuple[str, float | None]]
    before: float | None
    baselines: dict[str, float | None]
    against: str | None
    difference: dict[str, float | None]
    verdict: Verdict


@dataclass(frozen=True)
class Example:
    category: str
    right: bool
    id: int
    instruction: str
    input: str
    reference: str
    response: str
    cut_off: bool
    before: str
    scores: list[tuple[str, float | None]]


@dataclass(frozen=True)
class JudgeView:
    """Who judged, and the rows (side, answers without a score, mean score if these were 0, and if 100)."""

    model: str
    host: str
    prompt: str
    rows: list[tuple[str, int, float, float]]


@dataclass(frozen=True)
class InstructionView:
    """What the report shows of an instruction run and of no other."""

    categories: list[CategoryRow]
    category_chart: Figure | None
    texts: Table
    judge: JudgeView | None
    examples: list[Example]


def view(name: str, run: RunResults) -> InstructionView:
    """`name` begins the ids of the charts."""
    rows = categories(run.summary)
    return InstructionView(
        categories=rows,
        category_chart=category_chart(name, rows) if rows else None,
        texts=texts(run.summary["texts"]),
        judge=judge(run.summary["judge"], run.judge) if run.judge is not None else None,
        examples=examples(run),
    )


def categories(summary: dict[str, Any]) -> list[CategoryRow]:
    """The categories with the most test items first: the small ones say little."""
    entries = summary.get("categories", {}).items()
    return [_category(name, entry) for name, entry in sorted(entries, key=lambda item: (-item[1]["rows"], item[0]))]


def _category(name: str, entry: dict[str, Any]) -> CategoryRow:
    against = strongest(entry["baselines"])
    nothing: dict[str, float | None] = {"difference": None, "low": None, "high": None}
    difference = entry["differences"].get(against, nothing) if against else nothing
    return CategoryRow(
        category=name or "(none)",
        rows=entry["rows"],
        exact_match={**entry["exact_match"], "value": entry["exact_match"]["mean"]},
        scores=[(METRIC_NAMES[score], entry[score]["mean"]) for score in SCORES if score in entry],
        before=entry["before_exact_match"],
        baselines=entry["baselines"],
        against=against,
        difference=difference,
        verdict=verdict("exact_match", difference["low"], difference["high"]),
    )


def category_chart(name: str, rows: list[CategoryRow]) -> Figure:
    title = "Exact match by category"
    ours = [row.exact_match for row in rows]
    groups = [
        Dots([x["value"] for x in ours], "accent", "o", [x["low"] for x in ours], [x["high"] for x in ours]),
        Dots([row.baselines.get("nearest_neighbour") for row in rows], "contrast", "D"),
        Dots([row.baselines.get("majority_answer") for row in rows], "good", "s"),
        Dots([row.before for row in rows], "calm", "X"),
    ]
    legend = [
        ("accent", "disc", "fine-tuned, with its interval"),
        ("contrast", "diamond", "nearest neighbour"),
        ("good", "square", "majority answer"),
        ("calm", "cross", "before fine-tuning"),
    ]
    svg = dot_chart(f"{name}-categories", title, [row.category for row in rows], groups, "share of exact matches")
    return Figure(svg, f"{title}.", legend)


def texts(statistics: dict[str, dict[str, float | None]]) -> Table:
    """Length and repetition (evaluation.repetition), the references beside both models."""
    sides = [statistics[side] for side in TEXT_SIDES]
    rows = [
        (title, [{"value": side[name]} if name in side else None for side in sides])
        for name, title in TEXT_STATISTICS.items()
    ]
    return Table(list(TEXT_SIDES.values()), rows)


def judge(counts: dict[str, Any], record: dict[str, Any]) -> JudgeView:
    """`counts`: the summary's; `record`: judge.json. Both seeds and the base model had the same judge."""
    unparsable, bounds = sum(counts["unparsable"].values()), counts["bounds"]
    before, bounds_before = counts["unparsable_before"], counts["bounds_before"]
    return JudgeView(
        model=", ".join(dict.fromkeys([record["settings"]["model"], *record["models"]])),
        host=urlsplit(record["settings"]["url"]).netloc,
        prompt=record["settings"]["prompt"],
        rows=[
            ("Fine-tuned", unparsable, bounds["low"], bounds["high"]),
            ("Before fine-tuning", before, bounds_before["low"], bounds_before["high"]),
        ],
    )


def examples(run: RunResults) -> list[Example]:
    """Of each category, largest first, the first right and the first wrong answer of the first seed, by id.

    Right means an exact match with the reference (evaluation.overlap.exact_match).
    """
    before = {} if run.before is None else dict(zip(run.before["id"], run.before["response"], strict=True))
    responses = run.seeds[0].outputs
    responses = responses.assign(right=responses["exact_match"] == 1)
    responses = responses.assign(size=responses.groupby("category")["id"].transform("size"))
    shown = responses.drop_duplicates(["category", "right"]).sort_values(
        ["size", "category", "right"], ascending=[False, True, False]
    )
    kept = shown["category"].drop_duplicates().head(MOST_CATEGORIES_WITH_EXAMPLES)
    return [_example(row, before) for _, row in shown[shown["category"].isin(kept)].iterrows()]


def _example(row: "pd.Series[Any]", before: dict[int, str]) -> Example:
    return Example(
        category=row["category"],
        right=bool(row["right"]),
        id=int(row["id"]),
        instruction=row["instruction"],
        input=row["input"],
        reference=row["reference"],
        response=row["response"],
        cut_off=row["finish_reason"] == "length",
        before=before.get(row["id"], ""),
        scores=[(METRIC_NAMES[name], None if pd.isna(row[name]) else row[name]) for name in SCORES if name in row],
    )
