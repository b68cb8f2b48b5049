"""Each run and each of its figures as a page of its own: for `snakemake --report`, for slides."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import jinja2

from gptsmith.files import write_text
from gptsmith.report.history import Figure
from gptsmith.report.results import RunResults

WHOLE = "Results"


class View(Protocol):
    @property
    def results(self) -> RunResults: ...


def write_pieces(folder: Path, runs: Sequence[View], ablation: Any, template: jinja2.Template) -> None:
    """Write `folder`/<run>/<title>.html: the run's section of the report as `Results`, and its figures; of an ablation
    (None where there is none) `folder`/ablation/<title>.html likewise."""
    views = [(run.results.name, {"run": run, "ablation": None}) for run in runs]
    views += [("ablation", {"run": None, "ablation": ablation})] if ablation else []
    for name, shown in views:
        pieces: dict[str, Figure | None] = {WHOLE: None}
        for figure in figures_in([*shown.values()]):
            pieces[_unused(title_of(figure), pieces)] = figure
        for title, piece in pieces.items():
            page = template.render(title=f"{name}: {title}", figure=piece, **shown)
            write_text(folder / name / f"{title}.html", page)


def figures_in(view: Any) -> Iterator[Figure]:
    """All figures in a dataclass, at any depth, in the order of its fields."""
    if isinstance(view, Figure):
        yield view
    elif isinstance(view, list | tuple):
        for item in view:
            yield from figures_in(item)
    elif dataclasses.is_dataclass(view):
        for field in dataclasses.fields(view):
            yield from figures_in(getattr(view, field.name))


def title_of(figure: Figure) -> str:
    """How the caption begins, as a file may be called: `ROC curve`."""
    return re.sub(r"[^\w -]", "", re.split(r"[.,;:(]", figure.caption)[0])[:60].strip() or "Figure"


def _unused(title: str, used: dict[str, Any]) -> str:
    n = next(n for n in range(1, len(used) + 2) if (title if n == 1 else f"{title} {n}") not in used)
    return title if n == 1 else f"{title} {n}"
