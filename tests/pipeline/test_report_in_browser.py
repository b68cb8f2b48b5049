"""The report of a whole run as a browser shows it: without complaints (`open_page` sees to that)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from playwright.sync_api import Page


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_of_a_run_opens(finished_project: Project, open_page: Callable[..., Page], width: int) -> None:
    report = finished_project.folder / "results" / "tiny" / "report.html"
    page = open_page(report.absolute().as_uri(), viewport={"width": width, "height": 900})
    assert page.evaluate("document.scrollingElement.scrollWidth") == width
    tables = page.locator("div.items")
    assert tables.count() == len(finished_project.config()["runs"])
    for table in tables.all():
        assert table.locator("tbody tr").count() > 0
    assert page.locator("figure .values").count() == page.locator("svg.chart").count() > 0
