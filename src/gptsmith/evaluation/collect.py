"""The metrics of all runs in one file. Apart from gptsmith.evaluation.summarize, which needs pandas."""

from collections.abc import Sequence
from pathlib import Path

from gptsmith.files import read_json, write_json


def collect_metrics(summaries: Sequence[Path], output: Path, ablation: Path | None = None) -> None:
    """Write the runs' mean metrics as {run: {metric: mean}}, the file that `dvc metrics` reads; of an ablation
    {"ablation": {variant: {"loss": mean}}}."""
    runs = [read_json(path) for path in summaries]
    metrics = {run["run"]: {name: metric["mean"] for name, metric in run["metrics"].items()} for run in runs}
    if ablation is not None:
        metrics["ablation"] = {row["name"]: {"loss": row["loss"]["mean"]} for row in read_json(ablation)["rows"]}
    write_json(output, metrics)
