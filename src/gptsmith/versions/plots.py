"""What `dvc metrics`, `plots` and `artifacts` show: results/<name>/dvc.yaml, and small tables beside the results."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from gptsmith.data.prepared import read_report
from gptsmith.files import atomic_path, write_text
from gptsmith.versions.contents import Contents

PLOTS = "plots"
ROC_AXES = ("false positive rate", "true positive rate")


def write_plots(project: Path, contents: Contents) -> None:
    """Write each run's tables, and what DVC shows of all runs."""
    for name, run in contents.runs.items():
        folder = project / contents.results / name
        seeds = [folder / f"seed-{seed}" for seed in run.seeds]
        if histories := _existing(seeds, "history.parquet"):
            _write_loss(folder, histories)
        if predictions := _existing(seeds, "predictions.parquet"):
            report = read_report(project / "data" / "prepared" / run.dataset)
            _write_predictions(folder, predictions, report["positive_label"])
    target = project / contents.results / "dvc.yaml"
    text = "# Written when a run is recorded.\n" + yaml.safe_dump(_description(project, contents), sort_keys=False)
    if (project / contents.results).is_dir() and not (target.is_file() and target.read_text(encoding="utf-8") == text):
        write_text(target, text)


def _existing(folders: Sequence[Path], name: str) -> list[Path]:
    return [folder / name for folder in folders if (folder / name).is_file()]


def _write_loss(folder: Path, histories: Sequence[Path]) -> None:
    """The course of the loss by split: the mean over the seeds that got to a step."""
    tables = [pq.read_table(path, columns=["step", "split", "loss"], partitioning=None) for path in histories]
    for split in ("train", "validation"):
        losses: dict[int, list[float]] = {}
        for table in tables:
            rows = table.filter(pc.field("split") == split)
            for step, loss in zip(rows["step"].to_pylist(), rows["loss"].to_pylist(), strict=True):
                losses.setdefault(step, []).append(loss)
        rows_of_split = [(step, sum(values) / len(values)) for step, values in sorted(losses.items())]
        _write_table(folder / PLOTS / f"{split}.csv", ("step", "loss"), rows_of_split)


def _write_predictions(folder: Path, predictions: Sequence[Path], positive: str | None) -> None:
    """What was predicted for the test split, the seeds one after another; for two classes the ROC curve as well."""
    rows = pa.concat_tables(pq.read_table(path, partitioning=None) for path in predictions)
    rows = rows.filter(pc.field("split") == "test")
    actual = rows["label"].to_pylist()
    pairs = zip(actual, rows["prediction"].to_pylist(), strict=True)
    _write_table(folder / PLOTS / "predictions.csv", ("actual", "predicted"), pairs)
    if positive is not None and len(set(actual)) == 2:
        truth = np.array([label == positive for label in actual])
        _write_table(
            folder / PLOTS / "roc.csv", ROC_AXES, roc_points(truth, rows[f"probability_{positive}"].to_numpy())
        )


def roc_points(truth: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """False and true positive rate at each threshold, from none to all. (scikit-learn's takes seconds to import.)"""
    order = np.argsort(-scores, kind="stable")
    hits, ends = truth[order], np.flatnonzero(np.diff(scores[order], append=-np.inf))
    rates = [np.cumsum(counted)[ends] / counted.sum() for counted in (~hits, hits)]
    return [(0.0, 0.0), *zip(*(rate.tolist() for rate in rates), strict=True)]


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _description(project: Path, contents: Contents) -> dict[str, Any]:
    plots: list[dict[str, Any]] = []
    for run in contents.runs:
        folder = project / contents.results / run / PLOTS
        files = {name: f"{run}/{PLOTS}/{name}.csv" for name in ("train", "validation", "roc", "predictions")}
        there = {name: file for name, file in files.items() if (folder / f"{name}.csv").is_file()}
        if "train" in there:
            course = {there[split]: "loss" for split in ("train", "validation")}
            plots.append({f"{run}: loss": {"x": "step", "y": course, "x_label": "step", "y_label": "loss"}})
        if "roc" in there:
            x, y = ROC_AXES
            plots.append({f"{run}: ROC curve": {"x": x, "y": {there["roc"]: y}, "x_label": x, "y_label": y}})
        if "predictions" in there:
            matrix = {"template": "confusion", "x": "actual", "y": {there["predictions"]: "predicted"}}
            plots.append({f"{run}: confusion": matrix})
    artifacts = {f"dataset {name}": ("dataset", f"data/prepared/{name}") for name in contents.datasets}
    artifacts |= {f"base {name}": ("model", f"checkpoints/base/{name}") for name in contents.models}
    artifacts |= {f"model {run}": ("model", f"checkpoints/finetuned/{contents.name}/{run}") for run in contents.runs}
    return {
        "metrics": ["metrics.json"],
        "plots": plots,
        "artifacts": {
            _artifact_name(name): {"type": kind, "path": f"../../{path}"}
            for name, (kind, path) in artifacts.items()
            if (project / path).is_dir()
        },
    }


def _artifact_name(name: str) -> str:
    """DVC takes small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
