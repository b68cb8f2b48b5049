"""A file of the user's own goes through `gptsmith init` to a report."""

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Project

COMMAND = "from gptsmith.cli.app import main; main()"


def gptsmith(project: "Project", *arguments: str) -> str:
    """Standard output of the command, run in the project's folder."""
    variables = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    command = [sys.executable, "-c", COMMAND, *arguments]
    result = subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def write_excel_csv(project: "Project") -> None:
    """Three classes of unequal size, semicolons, Windows-1252."""
    rng = random.Random(0)
    words = ["Lieferung", "spät", "Rechnung", "Gruß", "falsch", "schön", "Öffnungszeit", "danke", "kaputt"]
    classes = ["Beschwerde"] * 90 + ["Rechnung"] * 40 + ["Frage"] * 20
    rows = [f"{n};{' '.join(rng.choices(words, k=8))} {label[:3]};{label}" for n, label in enumerate(classes)]
    (project.folder / "Anfragen.csv").write_text("Nr;Text;Thema\n" + "\n".join(rows) + "\n", encoding="cp1252")


def test_the_config_written_is_planned(project: "Project") -> None:
    write_excel_csv(project)
    assert "3 classes: Beschwerde (90), Rechnung (40), Frage (20)" in gptsmith(project, "init", "Anfragen.csv")
    jobs = project.planned("--configfile", "anfragen.yaml")
    assert jobs["prepare"] == jobs["pretrain"] == jobs["finetune"] == jobs["report"] == 1


@pytest.mark.slow
def test_from_two_files_to_a_report(project: "Project") -> None:
    write_excel_csv(project)
    header, *rows = (project.folder / "Anfragen.csv").read_text(encoding="cp1252").splitlines(keepends=True)
    (project.folder / "Test.csv").write_text(header + "".join(rows[::5]), encoding="cp1252")
    gptsmith(project, "init", "Anfragen.csv", "--test", "Test.csv")
    config = yaml.safe_load((project.folder / "anfragen.yaml").read_text())
    [(name, settings)] = config["runs"].items()
    config["runs"]["again"] = settings | {"trainable": "head", "seeds": [7]}
    (project.folder / "anfragen.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project.run("--configfile", "anfragen.yaml")
    metrics = json.loads((project.folder / "results/anfragen/metrics.json").read_text())
    assert metrics
    report = json.loads((project.folder / "data/prepared/anfragen/report.json").read_text())
    assert report["splits"]["test"]["rows"] == report["test_rows_read"] == 30
    assert report["dropped"]["duplicate"] == 30
    assert report["near_duplicates"]["rows"] >= 0
    text = (project.folder / "results/anfragen/report.html").read_text()
    assert "Beschwerde" in text
    assert text.index(f">{name}</bdi>:</strong>") < text.index(">again</bdi>:</strong>")

    compared = json.loads((project.folder / "results/anfragen/comparisons/anfragen.json").read_text())
    [pair] = compared["pairs"]
    assert pair["runs"] == [name, "again"]
    means = [metrics[run]["f1"] for run in pair["runs"]]
    assert pair["differences"]["f1"]["difference"] == pytest.approx(means[0] - means[1])
    assert set(pair["mcnemar"]) == {"only_first", "only_second", "p_value"}
    assert "p (McNemar)" in text
    summary = json.loads((project.folder / "results/anfragen/again/summary.json").read_text())
    assert {label: entry["rows"] for label, entry in summary["classes"].items()} == report["splits"]["test"]["labels"]
    assert summary["threshold"] is None


def test_what_a_run_takes_is_told_before_it(project: "Project") -> None:
    write_excel_csv(project)
    gptsmith(project, "init", "Anfragen.csv")
    told = gptsmith(project, "check", "anfragen.yaml")
    assert "anfragen.yaml: 12 jobs (prepare, " in told
    assert "classifier: 150 rows of" in told
    assert "time: roughly" in told
    assert not (project.folder / "data").exists()
