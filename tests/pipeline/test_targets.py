"""What can be asked for on the command line, and how a run ends that is interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Project

ROOT = Path(__file__).parents[2]
SHIPPED = ["config.yaml", *sorted(f"config/{path.name}" for path in (ROOT / "config").glob("*.yaml"))]


@pytest.fixture
def clean_checkout(project: "Project") -> "Project":
    """The project as it is shipped, with its own configs and data."""
    shutil.copy(ROOT / "config.yaml", project.folder)
    for folder in ("config", "resources"):
        shutil.copytree(ROOT / folder, project.folder / folder)
    return project


@pytest.mark.parametrize("config", SHIPPED)
def test_a_shipped_config_plans_from_a_clean_folder(clean_checkout: "Project", config: str) -> None:
    arguments = [] if config == "config.yaml" else ["--configfile", config]
    planned = clean_checkout.planned(*arguments)
    settings = yaml.safe_load((ROOT / config).read_text())
    runs, ablation = settings.get("runs", {}), settings.get("ablation", {"variants": {}, "seeds": []})
    trained = sum(count for rule, count in planned.items() if rule in ("finetune", "finetune_lora"))
    assert trained == planned.get("evaluate", 0) == sum(len(run.get("seeds", [None])) for run in runs.values())
    assert planned.get("summarize", 0) == planned.get("baselines", 0) == len(runs)
    assert planned.get("pretrain_variant", 0) == (1 + len(ablation["variants"])) * len(ablation["seeds"])
    assert planned["report"] == planned["collect_metrics"] == 1


def test_downloads_are_a_target_of_their_own(clean_checkout: "Project") -> None:
    planned = clean_checkout.planned("downloads", "--configfile", "config/gpt2-small.yaml")
    assert planned == {"download": 2, "fetch_tokenizer": 1, "download_weights": 1, "downloads": 1}


def test_a_run_is_a_target_of_its_own(project: "Project") -> None:
    shared = {"prepare": 2, "train_tokenizer": 1, "tokenize": 2, "pretrain": 1}
    one = {"finetune": 1, "baselines": 1, "evaluate": 1, "summarize": 1}
    assert project.planned("spam") == shared | one | {"predict": 1, "spam": 1}
    assert project.planned("assistant") == shared | one | {"generate": 1, "generate_before": 1, "assistant": 1}


def test_another_config_takes_the_place_of_the_default_one(project: "Project") -> None:
    other = project.config() | {"name": "other"}
    other["runs"] = {"only": other["runs"]["spam"]}
    (project.folder / "other.yaml").write_text(yaml.safe_dump(other))
    planned = project.planned("--configfile", "other.yaml")
    assert (planned["finetune"], planned["summarize"]) == (1, 1)
    assert "generate" not in planned


@pytest.mark.slow
def test_a_run_leaves_what_its_figures_are_worth(finished_project: "Project") -> None:
    results = finished_project.folder / "results" / "tiny" / "spam"
    metrics = json.loads((results / "seed-1" / "metrics.json").read_text())
    assert 0 <= metrics["test_calibration_error_low"] <= metrics["test_calibration_error_high"] <= 1
    assert 0 <= metrics["threshold"] <= 1
    summary = json.loads((results / "summary.json").read_text())
    assert summary["threshold"]["by_seed"] == {"1": metrics["threshold"]}
    assert list(summary["classes"]) == ["ham", "spam"]
    # Each spam message is another one with another number.
    prepared = json.loads((finished_project.folder / "data/prepared/messages/report.json").read_text())
    near = prepared["near_duplicates"]["in_train"]["test"]
    assert len(near) == summary["without_near_copies"]["near_copies"] > 0
    report = (results.parent / "report.html").read_text()
    for said in ("Reliability diagram", f'--threshold <bdi class="data">spam={metrics["threshold"]:.9g}</bdi>'):
        assert said in report
    assert f"{len(near)} of {summary['rows']} test texts are nearly the same as a training text" in report


@pytest.mark.slow
def test_an_interrupted_training_leaves_no_part_of_a_file(copied_project: "Project") -> None:
    config = copied_project.config()
    config["models"]["tiny"]["pretrain"]["training"] = {"epochs": 100_000, "batch_size": 32, "evaluations": 1}
    copied_project.write_config(config)
    log = copied_project.folder / "logs" / "pretrain" / "tiny.log"
    log.unlink()

    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--until", "pretrain"]
    environment = os.environ | {"PYTHONPATH": str(copied_project.folder / "src"), "NO_COLOR": "1"}
    with subprocess.Popen(
        command,
        cwd=copied_project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group, to which a terminal sends Ctrl-C
        # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
        try:
            while run.poll() is None and not (log.is_file() and "step" in log.read_text()):
                time.sleep(0.1)
            os.killpg(run.pid, signal.SIGINT)
            shown, _ = run.communicate(timeout=60)
        except BaseException:
            os.killpg(run.pid, signal.SIGKILL)
            raise
    assert run.returncode != 0
    assert shown.rstrip().endswith("\nerror: interrupted")
    assert "Traceback" not in shown
    assert not list((copied_project.folder / "checkpoints" / "base" / "tiny").glob("*model*"))
    assert not list(copied_project.folder.rglob("*.partial"))
    assert "pretrain" in copied_project.planned()


@pytest.mark.slow
def test_what_is_shown_away_from_a_terminal_has_no_escape_codes(copied_project: "Project") -> None:
    config = copied_project.config()
    config["runs"]["spam"] |= {"trainable": "head"}
    copied_project.write_config(config)
    result = copied_project.snakemake("--until", "finetune", NO_COLOR="", TERM="xterm-256color")
    assert result.returncode == 0
    assert "spam, seed 1: step" in result.stdout + result.stderr
    assert "\x1b" not in result.stdout + result.stderr
