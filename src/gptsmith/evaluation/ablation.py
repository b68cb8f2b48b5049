"""The rows of an ablation: what each part gives, against the model as it is, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gptsmith.config.ablation import BASELINE
from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import (
    Array,
    Estimate,
    Estimates,
    Statistic,
    bootstrap,
    mean_estimate,
    null_where_undefined,
    over_seeds,
)
from gptsmith.evaluation.tables import check_same_items
from gptsmith.evaluation.trials import read_trial, trial_statistic
from gptsmith.files import read_json, write_json


@dataclass(frozen=True)
class Files:
    """Of one training."""

    windows: Path
    history: Path


def summarize_ablation(
    *,
    model: str,
    split: str,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    trainings: Mapping[str, Mapping[int, Files]],
    steps: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write the summary of an ablation.

    variants: names, the baseline among them, and what each changes, in the order of the rows; trainings: by variant and
    seed; steps: what `measure_variants` wrote.

    Losses are measured on the same windows and resamples, seeds averaged; differences are to the baseline with the same
    seeds. Times are compared within a round. Raises UserError when a file breaks its contract.
    """
    windows = {
        files.windows: read_trial(files.windows, split) for seeds in trainings.values() for files in seeds.values()
    }
    check_same_items(windows, "target_tokens")
    first = next(iter(windows.values()))
    costs = read_json(steps)
    if missing := [name for name, _ in variants if name not in costs["step_seconds"]]:
        raise UserError(f"{steps}: no {', '.join(missing)}; delete it and run again")
    losses = {
        name: {
            seed: bootstrap(trial_statistic(windows[files.windows], "instruction", None), len(first), settings)
            for seed, files in seeds.items()
        }
        for name, seeds in trainings.items()
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
            "course": _course([files.history for files in trainings[name].values()]),
        }

    summary = {
        "model": model,
        "split": split,
        "windows": len(first),
        "tokens": int(first["target_tokens"].sum()),
        "seeds": list(trainings[BASELINE]),
        "confidence": settings.confidence,
        "blocks": len(costs["step_tokens"]),
        "rounds": sum(map(len, costs["step_tokens"])),
        **{key: costs[key] for key in ("device", "threads", "precision", "platform")},
        "rows": [row(name, changes) for name, changes in variants],
    }
    write_json(output, null_where_undefined(summary))


def _difference(ours: Mapping[int, Estimates], theirs: Mapping[int, Estimates], confidence: float) -> dict[str, Any]:
    """Paired, over windows and seeds."""
    of_seed = {seed: ours[seed]["loss"] - theirs[seed]["loss"] for seed in ours}
    mean = mean_estimate(list(of_seed.values()))
    low, high = mean.interval(confidence)
    by_seed = {str(seed): estimate.value for seed, estimate in of_seed.items()}
    return {"difference": mean.value, "low": low, "high": high, "by_seed": by_seed}


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
    return {"speed_ratio": None} | {key: _interval(one, settings.confidence) for key, one in found.items()}


def _mean_of(values: Mapping[str, Array]) -> Statistic:
    return lambda weights: {name: weights @ each / weights.sum(axis=1) for name, each in values.items()}


def _interval(estimate: Estimate, confidence: float) -> dict[str, float]:
    low, high = estimate.interval(confidence)
    return {"value": estimate.value, "low": low, "high": high}


def _course(histories: Sequence[Path]) -> list[list[float]]:
    """Tokens seen and validation loss at the points that all seeds have, the mean over them."""
    losses: dict[int, list[float]] = {}
    for path in histories:
        table = pq.read_table(path, columns=["tokens", "split", "loss"], partitioning=None).to_pylist()
        for point in table:
            if point["split"] == "validation":
                losses.setdefault(point["tokens"], []).append(point["loss"])
    return [[n, sum(each) / len(each)] for n, each in sorted(losses.items()) if len(each) == len(histories)]
