"""Reading what the earlier stages left of a run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gptsmith.errors import UserError
from gptsmith.evaluation.classification import read_baseline_predictions, read_predictions
from gptsmith.evaluation.instructions import read_responses
from gptsmith.files import read_json


@dataclass(frozen=True)
class SeedResults:
    """One training of a run. `outputs` holds its predictions or responses (with each one's scores) on the test
    split, by id."""

    seed: int
    history: pd.DataFrame
    outputs: pd.DataFrame
    provenance: dict[str, Any]


@dataclass(frozen=True)
class RunResults:
    """A run over its seeds. A classification has its baselines' predictions, by name; an instruction run
    has the base model's responses in `before`, and where it was judged what is known of the `judge`."""

    name: str
    summary: dict[str, Any]
    seeds: list[SeedResults]
    baselines: dict[str, pd.DataFrame]
    before: pd.DataFrame | None
    judge: dict[str, Any] | None


def read_run(folder: Path) -> RunResults:
    """Read results/<name>/<run>. Raises UserError naming the file that is missing or broken."""
    summary = read_object(folder / "summary.json")
    generates = summary["task"] == "instruction"
    return RunResults(
        name=summary["run"],
        summary=summary,
        seeds=[_read_seed(folder / f"seed-{seed}", seed, summary) for seed in summary["seeds"]],
        baselines={} if generates else read_baseline_predictions(present(folder / "baselines.parquet")),
        before=_read_responses(folder / "before", summary) if generates else None,
        judge=read_object(folder / "before" / "judge.json") if summary.get("judge") else None,
    )


def _read_responses(folder: Path, summary: dict[str, Any]) -> pd.DataFrame:
    judgements = present(folder / "judgements.jsonl") if summary.get("judge") else None
    return read_responses(present(folder / "responses.jsonl"), judgements)


def _read_seed(folder: Path, seed: int, summary: dict[str, Any]) -> SeedResults:
    if summary["task"] == "instruction":
        outputs = _read_responses(folder, summary)
    else:
        outputs = read_predictions(present(folder / "predictions.parquet"))["test"]
    return SeedResults(
        seed=seed,
        history=read_history(folder / "history.parquet"),
        outputs=outputs,
        provenance=read_object(folder / "provenance.json"),
    )


def read_object(path: Path) -> dict[str, Any]:
    return read_json(present(path))


def read_history(path: Path) -> pd.DataFrame:
    """The logged steps of a training, by step."""
    try:
        history = pd.read_parquet(present(path), partitioning=None)
    except (ValueError, OSError) as error:  # pyarrow's errors about content are ValueErrors
        raise UserError(f"{path}: not a readable Parquet file ({error}). Delete it and run again.") from error
    return history.sort_values("step", ignore_index=True, kind="stable")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON object a line. Raises UserError with the place, and for a file without lines."""
    rows = []
    for line, text in enumerate(present(path).read_text(encoding="utf-8").split("\n"), start=1):
        try:
            rows += [json.loads(text)] if text.strip() else []
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {line}, column {error.colno}: not valid JSON ({error.msg})") from error
    if not rows:
        raise UserError(f"{path}: no lines. Delete it and run again.")
    return rows


def present(path: Path) -> Path:
    """`path`, or a UserError when there is no such file."""
    if not path.is_file():
        raise UserError(f"{path}: the report needs this file and it is not there. Run the stage that makes it.")
    return path
