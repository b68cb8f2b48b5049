"""The rows of an ablation: what each part gives, against the model as it is, and what it costs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import t as students_t

from gptsmith.config.ablation import BASELINE
from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.bootstrap import (
    Array,
    Estimates,
    Statistic,
    bootstrap,
    described,
    mean_estimate,
    null_where_undefined,
    over_seeds,
)
from gptsmith.evaluation.tables import check_same_items
from gptsmith.evaluation.trials import read_trial, trial_statistic
from gptsmith.files import read_json, write_json


def summarize_ablation(
    *,
    model: str,
    split: str,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    seeds: Sequence[int],
    results: Path,
    steps: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write the summary of an ablation.

    variants: names, the baseline among them, and what each changes, in the order of the rows; results: folder with a
    folder for each, where its seeds are; steps: what `measure_variants` wrote.

    Losses are measured on the same windows and resamples, seeds averaged; differences are to the baseline with the same
    seeds. Times are compared within a round. Raises UserError when a file breaks its contract.
    """
    folders = {name: {seed: results / name / f"seed-{seed}" for seed in seeds} for name, _ in variants}
    windows = {
        file: read_trial(file, split)
        for by_seed in folders.values()
        for file in (folder / "windows.parquet" for folder in by_seed.values())
    }
    check_same_items(windows, "target_tokens")
    first = next(iter(windows.values()))
    costs = read_json(steps)
    losses = {
        name: {
            seed: bootstrap(
                trial_statistic(windows[folder / "windows.parquet"], "instruction", None), len(first), settings
            )
            for seed, folder in by_seed.items()
        }
        for name, by_seed in folders.items()
    }

    def row(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        is_baseline = name == BASELINE
        return {
            "name": name,
            "changes": dict(changes),
            "parameters": costs["parameters"][name],
            "loss": over_seeds(losses[name], settings.confidence)["loss"],
            "difference": None if is_baseline else _difference(losses[name], losses[BASELINE], settings.confidence),
            **_speed(name, costs, settings),
            "step_bytes": costs["step_bytes"][name],
            "cache_bytes": costs["cache_bytes"][name],
            "course": _course([folder / "history.parquet" for folder in folders[name].values()]),
        }

    summary = {
        "model": model,
        "split": split,
        "windows": len(first),
        "tokens": int(first["target_tokens"].sum()),
        "seeds": list(seeds),
        "confidence": settings.confidence,
        "blocks": len(costs["step_tokens"]),
        "rounds": sum(map(len, costs["step_tokens"])),
        **{key: costs[key] for key in ("device", "threads", "precision", "platform")},
        "rows": [row(name, changes) for name, changes in variants],
    }
    write_json(output, null_where_undefined(summary))


def _difference(ours: Mapping[int, Estimates], theirs: Mapping[int, Estimates], confidence: float) -> dict[str, Any]:
    """Paired, over windows and seeds: `low` and `high` are of other windows, `seeds_low` and `seeds_high` of other
    seeds."""
    of_seed = {seed: ours[seed]["loss"] - theirs[seed]["loss"] for seed in ours}
    by_seed = {str(seed): estimate.value for seed, estimate in of_seed.items()}
    mean = described({"loss": mean_estimate(list(of_seed.values()))}, "difference", confidence)["loss"]
    low, high = _seeds_interval(list(by_seed.values()), confidence)
    return {**mean, "seeds_low": low, "seeds_high": high, "by_seed": by_seed}


def _seeds_interval(differences: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's, of the mean: by chance alone three seeds agree on a sign once in four times. NaNs for one seed."""
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean, standard_error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(n)
    half = float(students_t.ppf((1 + confidence) / 2, n - 1)) * standard_error
    return mean - half, mean + half


def _speed(name: str, costs: Mapping[str, Any], settings: Evaluation) -> dict[str, Any]:
    """Of each block the median of its rounds, and of those the mean, resampled: rounds of a block are too much alike to
    count as so many measurements."""
    tokens, ours, baseline = (
        [np.array(block, dtype=np.float64) for block in blocks]
        for blocks in (costs["step_tokens"], costs["step_seconds"][name], costs["step_seconds"][BASELINE])
    )
    speeds = np.array([np.median(n / seconds) for n, seconds in zip(tokens, ours, strict=True)])
    ratios = np.array([np.median(theirs / seconds) for theirs, seconds in zip(baseline, ours, strict=True)])
    estimates = {"tokens_per_second": speeds} | ({} if name == BASELINE else {"speed_ratio": ratios})
    found = bootstrap(_mean_of(estimates), len(speeds), settings)
    return {"speed_ratio": None} | described(found, "value", settings.confidence)


def _mean_of(values: Mapping[str, Array]) -> Statistic:
    return lambda weights: {name: weights @ each / weights.sum(axis=1) for name, each in values.items()}


def _course(histories: Sequence[Path]) -> list[list[float]]:
    """Tokens seen and validation loss at the points that all seeds have, the mean over them."""
    losses: dict[int, list[float]] = {}
    for path in histories:
        table = pq.read_table(path, columns=["tokens", "split", "loss"], partitioning=None).to_pylist()
        for point in table:
            if point["split"] == "validation":
                losses.setdefault(point["tokens"], []).append(point["loss"])
    return [[n, sum(each) / len(each)] for n, each in sorted(losses.items()) if len(each) == len(histories)]
