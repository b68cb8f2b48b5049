"""`gptsmith check`, with a dry run of Snakemake's as it was written down."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gptsmith.cli import check
from gptsmith.cli.app import app

DRY_RUN = """
rule prepare:
    input: rows.jsonl
    log: logs/prepare/own.log
    benchmark: logs/benchmarks/prepare/own.jsonl

rule finetune_lora:
    log: logs/finetune/own/mine/seed-123.log
    benchmark: logs/benchmarks/finetune/own/mine/seed-123.jsonl

localrule report:
    log: logs/report/own.log

rule all:
    input: results/own/report.html
"""
CONFIG = {
    "name": "own",
    "datasets": {"own": {"task": "classification", "sources": [{"path": "rows.jsonl"}], "format": {"type": "jsonl"}}},
    "tokenizers": {"bpe": {"train_on": ["own"], "vocab_size": 280}},
    "models": {
        "small": {
            "tokenizer": "bpe",
            "architecture": {"context_length": 24, "d_model": 16, "n_layers": 3, "n_heads": 2},
            "random": True,
        }
    },
    "runs": {"mine": {"dataset": "own", "model": "small", "trainable": {"lora": {"rank": 2, "alpha": 4}}}},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "_dry_run", lambda *_: DRY_RUN)
    rows = [{"text": f"some words and number {n}", "label": "ab"[n % 2]} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_the_estimate_as_json_and_what_is_said_beside_it() -> None:
    plain, as_json = (CliRunner().invoke(app, ["check", "own.yaml", *options]) for options in ([], ["--json"]))
    assert plain.exit_code == as_json.exit_code == 0
    assert plain.stderr == ""
    assert plain.stdout.startswith("own.yaml: 3 jobs (prepare, finetune, report)\nmine: 60 rows of ")
    estimate = json.loads(as_json.stdout)
    assert estimate == json.loads(Path("results/own/estimate.json").read_text())
    planned = [("prepare", "own"), ("finetune", "own/mine/seed-123"), ("report", "own")]
    assert [(stage["rule"], stage["what"]) for stage in estimate["stages"]] == planned
    assert "time: roughly " in as_json.stderr
    assert as_json.stderr.endswith("written: results/own/estimate.json (the report compares it with what a run took)\n")
