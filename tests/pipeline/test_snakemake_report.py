"""`snakemake --report`: every page has its run and part as labels, a caption, and opens without complaints."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Project
    from playwright.sync_api import Page


def test_results_and_figures_have_labels_and_captions(
    finished_project: Project, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    finished_project.run("--report", str(tmp_path / "report.zip"))
    assert finished_project.planned() == {}
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        archive.extractall(tmp_path)
    pages = finished_project.folder / "results" / "tiny" / "report"
    figures = ["Accuracy while training", "Loss while training", "Precision-recall curve", "ROC curve"]
    assert {*figures, "Results"} <= {path.stem for path in (pages / "spam").glob("*.html")}
    for path in pages.glob("*/*.html"):
        open_page(path.as_uri())

    report = (tmp_path / "report" / "report.html").read_text()
    assert '"labels": {"run": "spam", "part": "ROC curve"}' in report
    assert "tiny, fine-tuned and tested on messages." in report
    assert "small GPTs, fine-tuned and evaluated" in report
