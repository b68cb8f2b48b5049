"""The metrics of all runs in one file. Apart from gptsmith.evaluation.summarize, which needs pandas."""

from collections.abc import Sequence
from pathlib import Path

from gptsmith.files import read_json, write_json


def collect_metrics(summaries: Sequence[Path], output: Path) -> None:
    """Write the runs' mean metrics as {run: {metric: mean}}, the file that `dvc metrics` reads."""
    runs = [read_json(path) for path in summaries]
    write_json(output, {run["run"]: {name: metric["mean"] for name, metric in run["metrics"].items()} for run in runs})
