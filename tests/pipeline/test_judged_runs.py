"""A judge in a whole run: asked by `snakemake`, its grades in the summary and the report, its key nowhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.judge_server import judge_server, says

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.slow
KEY = "sk-the-key-that-nobody-may-see"


def unparsable(judgements: Path) -> int:
    return [json.loads(line)["score"] for line in judgements.read_text().splitlines()].count(None)


def test_a_judge_grades_what_a_finished_run_answered(copied_project: "Project") -> None:
    project = copied_project
    results = project.folder / "results" / "tiny" / "assistant"
    with judge_server() as server:
        server.answers = [says("I cannot say."), says(f"The key is {KEY}.")]
        config = project.config()
        config["evaluation"]["judge"] = {"url": server.url, "model": "llama3"}
        config["execution"]["judge_requests"] = 2
        project.write_config(config)
        planned = {"judge": 2, "evaluate": 1, "summarize": 1, "collect_metrics": 1, "report": 1}
        assert project.planned() == planned
        run = project.snakemake("--cores", "1", GPTSMITH_JUDGE_KEY=KEY)
        assert run.returncode == 0, run.stdout + run.stderr
        assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}

        summary = json.loads((results / "summary.json").read_text())
        found = {side: unparsable(results / side / "judgements.jsonl") for side in ("seed-1", "before")}
        assert 2 in found.values()  # equal responses on both sides are judged once
        assert summary["judge"]["unparsable"] == {"1": found["seed-1"]}
        assert summary["judge"]["unparsable_before"] == found["before"]
        assert summary["metrics"]["judge_score"]["mean"] == summary["before"]["judge_score"]["value"] == 80
        assert ("judge_score", "before") in {(row["metric"], row["against"]) for row in summary["comparisons"]}
        assert json.loads((results / "seed-1" / "metrics.json").read_text())["test_judge_score"] == 80
        assert json.loads((results / "before" / "judge.json").read_text())["settings"]["prompt"]
        assert "llama3" in (project.folder / "results" / "tiny" / "report.html").read_text()

        files = [path for path in project.folder.rglob("*") if path.is_file()]
        assert not [path for path in files if KEY.encode() in path.read_bytes()]
        assert KEY not in run.stdout + run.stderr

        # What a judge has answered is not asked again, also where the file made of it is gone.
        asked = len(server.requests)
        (results / "before" / "judgements.jsonl").unlink()
        project.run("--force", "results/tiny/assistant/before/judgements.jsonl")
        assert len(server.requests) == asked
        assert json.loads((results / "before" / "judge.json").read_text())["asked"] == 0
