"""The combinations of a run's grid, from the best to the worst, each with its distance to the best."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.bootstrap import bootstrap, mean_estimates, null_where_undefined, over_seeds
from gptsmith.evaluation.choosing import ranked, read_members
from gptsmith.evaluation.trials import METRIC, trial_statistic
from gptsmith.files import write_json


def describe_sweep(
    *,
    run: str,
    task: str,
    positive_label: str | None,
    members: dict[str, dict[str, Any]],
    seeds: Sequence[int],
    results: Path,
    settings: Evaluation,
    output: Path,
) -> None:
    """Write sweep.json; members, results and errors as for `choose`, which the first one agrees with.

    All are measured on the same items and resamples, so the differences are paired. (The intervals are those of each
    one by itself: of many, the best is partly lucky. What it is worth, the test split says.)
    """
    items, metric = read_members(results, task, members, seeds), METRIC[task]
    names = ranked(run, task, positive_label, items)
    rows = len(next(iter(items[names[0]].values())))
    by_seed = {
        name: {
            seed: bootstrap(trial_statistic(frame, task, positive_label), rows, settings)
            for seed, frame in items[name].items()
        }
        for name in names
    }
    means = {name: mean_estimates(seeds.values()) for name, seeds in by_seed.items()}

    def described(name: str) -> dict[str, Any]:
        difference = means[name][metric] - means[names[0]][metric]
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
        "seeds": list(items[names[0]]),
        "chosen": names[0],
        "members": [described(name) for name in names],
    }
    write_json(output, null_where_undefined(sweep))
