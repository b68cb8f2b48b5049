"""What is told of a run: how far it is, how its stages hang together, and what they took beside what was expected."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gptsmith.files import read_json
from gptsmith.report.stage_graph import READS, edges_of
from gptsmith.report.stages import read_stages

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.slow

# Rules that are timed under the name of the one that they stand for.
NAMES = {"finetune_lora": "finetune", "prepare_shards": "prepare", "join_tokens": "tokenize"}


def gptsmith(project: "Project", *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv = {['gptsmith', *arguments]!r}; from gptsmith.cli.app import main; main()"
    environment = os.environ | {"PYTHONPATH": str(project.folder / "src"), "NO_COLOR": "1"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result


def timed(project: "Project") -> list[Path]:
    return sorted((project.folder / "logs" / "benchmarks").rglob("*.jsonl"))


def test_a_run_that_has_ended_is_told(finished_project: "Project") -> None:
    (run,) = json.loads(gptsmith(finished_project, "progress", "--json").stdout)["runs"]
    assert (run["name"], run["state"], run["waiting"], run["running"]) == ("tiny", "done", {}, [])
    assert run["jobs"]["done"] == run["jobs"]["total"] > 10
    assert gptsmith(finished_project, "progress").stdout.startswith(
        "nothing is running in this folder\nlast run: tiny: done, "
    )


def test_the_graph_in_the_report_is_snakemakes(finished_project: "Project") -> None:
    shown = finished_project.snakemake("--rulegraph", "dot")
    assert shown.returncode == 0, shown.stderr
    labels = {number: NAMES.get(name, name) for number, name in re.findall(r'(\d+)\[label = "(\w+)"', shown.stdout)}
    edges = {(labels[a], labels[b]) for a, b in re.findall(r"(\d+) -> (\d+)", shown.stdout)}
    left_out = {"all", "collect_metrics"}
    names = set(labels.values()) - left_out
    assert names <= READS.keys()
    models = {run: settings["model"] for run, settings in finished_project.config()["runs"].items()}
    drawn = edges_of(names, read_stages(timed(finished_project)), models)
    assert drawn == {(a, b) for a, b in edges if not {a, b} & left_out}


def test_an_estimate_is_kept_and_the_report_made_again(copied_project: "Project") -> None:
    said = gptsmith(copied_project, "check", "config.yaml", "--json")
    assert "config.yaml: nothing to do, all is there" in said.stderr
    assert "written: results/tiny/estimate.json" in said.stderr
    estimate = json.loads(said.stdout)
    assert estimate == read_json(copied_project.folder / "results/tiny/estimate.json")
    stages = {(stage["rule"], stage["what"]): stage for stage in estimate["stages"]}
    measured = read_stages(timed(copied_project))
    assert stages.keys() - {(stage.rule, stage.what) for stage in measured} == {
        ("collect_metrics", "tiny"),
        ("report", "tiny"),
    }
    assert {(stage.rule, stage.what) for stage in measured} <= stages.keys()
    assert all(stage["seconds"] > 0 and stage["memory_mb"] > 0 for stage in stages.values())
    assert copied_project.planned() == {"report": 1}
    copied_project.run()
    page = (copied_project.folder / "results/tiny/report.html").read_text()
    assert "Estimated by <code>gptsmith check</code>" in page
    assert "settings that have changed" not in page
    assert copied_project.planned() == {}
