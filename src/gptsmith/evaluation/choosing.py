"""Choosing among the combinations of a run's grid, by the validation split alone."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import on_all_items
from gptsmith.evaluation.tables import check_same_items
from gptsmith.evaluation.trials import ANSWERS, METRIC, read_trial, trial_statistic
from gptsmith.files import write_json


def choose(
    *,
    run: str,
    task: str,
    positive_label: str | None,
    members: dict[str, dict[str, Any]],
    seeds: Sequence[int],
    results: Path,
    output: Path,
) -> None:
    """Write chosen.json: the name of the best combination, and its values.

    members: by name, what is varied (path -> value); results: folder with a folder for each, where its seeds are.

    How sure the choice is, sweep.json says (gptsmith.evaluation.sweep). The choice depends on no setting of the
    evaluation, so that a change of one chooses nothing again.

    Raises UserError as `read_members` and `ranked` do.
    """
    name = ranked(run, task, positive_label, read_members(results, task, members, seeds))[0]
    write_json(output, {"run": run, "name": name, "settings": members[name]})


def read_members(
    results: Path, task: str, names: Iterable[str], seeds: Sequence[int]
) -> dict[str, dict[int, pd.DataFrame]]:
    """By name and seed, what each combination gave on the validation split; raises UserError when a file breaks its
    contract or they are not about the same items."""
    paths = {name: {seed: results / name / f"seed-{seed}" / ANSWERS[task] for seed in seeds} for name in names}
    items = {path: read_trial(path, "validation") for by_seed in paths.values() for path in by_seed.values()}
    check_same_items(items)
    return {name: {seed: items[path] for seed, path in by_seed.items()} for name, by_seed in paths.items()}


def ranked(run: str, task: str, positive_label: str | None, items: dict[str, dict[int, pd.DataFrame]]) -> list[str]:
    """The names of combinations from the best to the worst, by the mean over the seeds: the highest F1, and among
    equals the lowest loss; for instructions the lowest loss.

    Raises UserError where the metric is undefined for all.
    """
    means = {}
    for name, by_seed in items.items():
        seeds = [on_all_items(trial_statistic(rows, task, positive_label), len(rows)) for rows in by_seed.values()]
        means[name] = {metric: float(np.mean([seed[metric] for seed in seeds])) for metric in seeds[0]}
    metric = METRIC[task]
    if all(math.isnan(values[metric]) for values in means.values()):
        raise UserError(f"{run}: {metric} is undefined on the validation split; give the dataset a larger one")

    def place(name: str) -> tuple[float, float, str]:
        score = -means[name]["f1"] if task == "classification" else means[name]["loss"]
        return math.inf if math.isnan(score) else score, means[name]["loss"], name

    return sorted(means, key=place)
