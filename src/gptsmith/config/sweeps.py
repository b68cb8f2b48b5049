"""The trainings that a run's `grid` stands for: every combination of its values, each under a name of its own."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic
from pydantic import BaseModel

from gptsmith.config.problems import describe, nearest
from gptsmith.config.training import Training

# What a training follows from, and nothing that its validation does not see (how responses are generated) or that
# would take other tokens (the dataset, the model).
PATHS = (
    "trainable",
    "trainable.last_blocks",
    "trainable.lora.rank",
    "trainable.lora.alpha",
    "max_length",
    "loss_on",
    "class_weights",
    *(f"training.{key}" for key in Training.model_fields),
)

Grid = Mapping[str, Sequence[Any]]
"""Dotted path of a run's setting -> its values."""


def grid_problems(grid: Grid, settings: Mapping[str, Any], run: type[BaseModel]) -> Iterator[str]:
    """What is wrong with the grid of a run (model `run`) with those other settings, a line each."""
    for path in grid:
        if path not in PATHS:
            yield f"{path}: not a setting that a grid can vary{nearest(path, PATHS)}"
        for outer in grid:
            if path.startswith(f"{outer}."):
                yield f"{path}: is a part of {outer}, which the grid has as well; give whole values of {outer}"
    if any(path not in PATHS for path in grid):
        return
    names: set[str] = set()
    for chosen in _chosen(grid):
        raw = with_settings({"dataset": "", "model": ""} | dict(settings), chosen)
        try:
            member = run.model_validate(raw).model_dump(mode="json")
        except pydantic.ValidationError as error:
            yield from (line for details in error.errors() for line in describe(details, raw, run))
        else:
            name = combination_name({path: _at(member, path) for path in chosen})
            if name in names:
                yield f"{name}: named twice"
            names.add(name)


def combinations(grid: Grid, settings: Mapping[str, Any], run: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Name -> the varied settings (path -> value as validated), of every combination of a valid grid, by name."""
    members = {}
    for chosen in _chosen(grid):
        member = run.model_validate(with_settings(settings, chosen)).model_dump(mode="json")
        values = {path: _at(member, path) for path in chosen}
        members[combination_name(values)] = values
    return dict(sorted(members.items()))


def with_settings(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a run's settings with the values `chosen` at their dotted paths."""
    changed = dict(settings)
    for path, value in chosen.items():
        key, _, rest = path.partition(".")
        inner = changed.get(key)
        changed[key] = with_settings(inner if isinstance(inner, Mapping) else {}, {rest: value}) if rest else value
    return changed


def combination_name(values: Mapping[str, Any]) -> str:
    """A name for folders, such as `learning_rate-0.0005,trainable-last_blocks-1`.

    It follows from the combination's own values alone, so that others can come and go. (No `=`: readers of Parquet
    take the `key=value` of a path for a column.)
    """
    keys = {path: path.rpartition(".")[2] for path in values}
    return ",".join(f"{keys[path]}-{_word(values[path])}" for path in sorted(values, key=lambda path: keys[path]))


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return "-".join(f"{key}-{_word(inner)}" for key, inner in value.items())
    return repr(value).removesuffix(".0") if isinstance(value, int | float) else str(value).lower()


def _chosen(grid: Grid) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _at(settings: Any, path: str) -> Any:
    for key in path.split("."):
        settings = settings[key]
    return settings
