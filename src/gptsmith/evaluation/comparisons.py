"""The runs of a dataset, two by two, on the same test items.

Differences are of means over the seeds, and paired: both runs are measured on the same resampled items. For McNemar's
test, a classification run answers a text with the label of the highest probability averaged over its seeds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.bootstrap import (
    Estimates,
    Statistic,
    bootstrap,
    described,
    mean_estimates,
    null_where_undefined,
)
from gptsmith.evaluation.classification import answers, classification_statistic, read_predictions
from gptsmith.evaluation.instructions import read_responses, response_statistic
from gptsmith.evaluation.mcnemar import mcnemar
from gptsmith.evaluation.tables import check_same_items
from gptsmith.files import write_json

Runs = Mapping[str, Sequence[Path]]
"""Run -> the answers of each of its seeds; two runs or more."""

PER_TOKEN = ("loss", "perplexity")
"""Metrics that two runs share only where they have the same tokens."""


def compare_classifications(
    dataset: str, runs: Runs, positive_label: str | None, settings: Evaluation, output: Path
) -> None:
    """Write comparisons.json from predictions.parquet of each seed.

    Raises UserError when a file breaks its contract, or two are not about the same items.
    """
    items = {run: [read_predictions(path)["test"] for path in paths] for run, paths in runs.items()}
    _check(runs, items, "label")
    right = {run: _right_on_average(seeds) for run, seeds in items.items()}
    _compare(
        dataset,
        items,
        lambda rows: classification_statistic(rows, positive_label),
        lambda *_: (),
        lambda one, other: {"mcnemar": asdict(mcnemar(right[one], right[other]))},
        settings,
        output,
    )


def compare_instructions(dataset: str, runs: Runs, settings: Evaluation, output: Path) -> None:
    """Write comparisons.json from responses.jsonl of each seed; raises UserError like compare_classifications.

    Runs that cut the references into other tokens are compared without PER_TOKEN.
    """
    items = {run: [read_responses(path) for path in paths] for run, paths in runs.items()}
    _check(runs, items, "reference")
    tokens = {run: seeds[0]["target_tokens"] for run, seeds in items.items()}
    _compare(
        dataset,
        items,
        response_statistic,
        lambda one, other: () if tokens[one].equals(tokens[other]) else PER_TOKEN,
        lambda *_: {},
        settings,
        output,
    )


def _compare(
    dataset: str,
    items: dict[str, list[pd.DataFrame]],
    statistic: Callable[[pd.DataFrame], Statistic],
    incomparable: Callable[[str, str], Collection[str]],
    more: Callable[[str, str], dict[str, Any]],
    settings: Evaluation,
    output: Path,
) -> None:
    rows = len(next(iter(items.values()))[0])
    estimates: dict[str, Estimates] = {
        run: mean_estimates([bootstrap(statistic(seed), rows, settings) for seed in seeds])
        for run, seeds in items.items()
    }
    pairs = [
        {
            "runs": [one, other],
            "differences": described(
                {
                    metric: estimates[one][metric] - estimates[other][metric]
                    for metric in estimates[one]
                    if metric not in incomparable(one, other)
                },
                "difference",
                settings.confidence,
            ),
            **more(one, other),
        }
        for one, other in combinations(items, 2)
    ]
    found = {"dataset": dataset, "rows": rows, "confidence": settings.confidence, "pairs": pairs}
    write_json(output, null_where_undefined(found))


def _check(runs: Runs, items: dict[str, list[pd.DataFrame]], truth: str) -> None:
    paths = [path for paths in runs.values() for path in paths]
    check_same_items(dict(zip(paths, (seed for seeds in items.values() for seed in seeds), strict=True)), truth)


def _right_on_average(seeds: Sequence[pd.DataFrame]) -> NDArray[np.bool_]:
    """Which items the mean of the seeds' probabilities gets right; their columns have one order."""
    probabilities, labels, _ = zip(*map(answers, seeds), strict=True)
    return np.mean(probabilities, axis=0).argmax(axis=1) == labels[0]
