"""The report as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]


def opened(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", *options, page.absolute().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_report_opens_without_console_errors(finished_project: Project, tmp_path: Path, width: int) -> None:
    report, picture = finished_project.folder / "results" / "tiny" / "report.html", tmp_path / "report.png"
    shown = opened(report, tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},2000")
    assert "CONSOLE" not in shown.stderr
    assert picture.stat().st_size > 20_000  # more than an empty page


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_console_error_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('here I am')</script>")
    assert "here I am" in opened(page, tmp_path / "profile", "--dump-dom").stderr
