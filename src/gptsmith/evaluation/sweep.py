"""Choosing among the combinations of a run's grid, by the validation split alone."""

import math
from pathlib import Path
from typing import Any

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.bootstrap import bootstrap, mean_estimate, null_where_undefined, over_seeds
from gptsmith.evaluation.trials import METRIC, check_same_items, read_trial, trial_statistic
from gptsmith.files import write_json


def choose(
    *,
    run: str,
    task: str,
    positive_label: str | None,
    members: dict[str, dict[str, Any]],
    answers: dict[str, dict[int, Path]],
    settings: Evaluation,
    output: Path,
) -> None:
    """Write sweep.json: the combinations from the best to the worst, each with its distance to the best.

    members: by name, what is varied (path -> value); answers: by name and seed, what it gave on the validation split.

    The mean over the seeds decides: the highest F1, and among equals the lowest loss; for instructions the lowest
    loss. All are measured on the same items and resamples, so the differences are paired. (The intervals are those
    of each one by itself: of many, the best is partly lucky. What it is worth, the test split says.)

    Raises UserError when a file breaks its contract, and where the metric is undefined for all.
    """
    items = {path: read_trial(path, "validation") for paths in answers.values() for path in paths.values()}
    check_same_items(items)
    rows = len(next(iter(items.values())))
    by_seed = {
        name: {
            seed: bootstrap(trial_statistic(items[path], task, positive_label), rows, settings)
            for seed, path in paths.items()
        }
        for name, paths in answers.items()
    }
    means = {
        name: {
            metric: mean_estimate([seed[metric] for seed in seeds.values()]) for metric in next(iter(seeds.values()))
        }
        for name, seeds in by_seed.items()
    }
    metric = METRIC[task]
    if all(math.isnan(estimates[metric].value) for estimates in means.values()):
        raise UserError(f"{run}: {metric} is undefined on the validation split; give the dataset a larger one")

    def rank(name: str) -> tuple[float, float, str]:
        f1 = means[name]["f1"].value if task == "classification" else 0.0
        return -math.inf if math.isnan(f1) else -f1, means[name]["loss"].value, name

    ranked = sorted(means, key=rank)
    best = means[ranked[0]][metric]

    def described(name: str) -> dict[str, Any]:
        difference = means[name][metric] - best
        low, high = difference.interval(settings.confidence)
        return {
            "name": name,
            "settings": members[name],
            "metrics": over_seeds(by_seed[name], settings.confidence),
            "difference": {"difference": difference.value, "low": low, "high": high},
        }

    sweep = {
        "run": run,
        "task": task,
        "metric": metric,
        "rows": rows,
        "confidence": settings.confidence,
        "seeds": list(answers[ranked[0]]),
        "chosen": ranked[0],
        "members": [described(name) for name in ranked],
    }
    write_json(output, null_where_undefined(sweep))
