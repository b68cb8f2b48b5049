"""A sweep and a learning curve through Snakemake: what is shared, what runs again, what the test split is asked."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Project

RATES, KINDS = [0.001, 0.01], ["head", {"last_blocks": 1}]
AFTER_CHOOSING = {"keep_chosen": 1, "sweep": 1, "evaluate": 1, "summarize": 1, "collect_metrics": 1, "report": 1}


def write_grid(project: "Project", rates: list[float], shares: list[float]) -> None:
    config = project.config()
    config["runs"]["spam"]["grid"] = {"training.learning_rate": rates, "trainable": KINDS}
    config["runs"]["assistant"]["learning_curve"] = shares
    project.write_config(config)


def splits_in(predictions: Path) -> set[str]:
    return set(pq.read_table(predictions, columns=["split"], partitioning=None)["split"].to_pylist())


@pytest.mark.slow
def test_a_sweep_and_a_learning_curve(copied_project: "Project") -> None:
    folder = copied_project.folder
    results = folder / "results" / "tiny"
    assistant = (folder / "checkpoints/finetuned/tiny/assistant/seed-1/model.safetensors").stat().st_mtime_ns

    # Tokens and the base model are there; features are made once for all that train above the same block.
    write_grid(copied_project, RATES, [0.25, 0.5])
    assert copied_project.planned() == {
        "trunk_features": 4,
        "finetune_trial": 6,
        "predict": 5,
        "score_trial": 2,
        "choose": 1,
        "learning_curve": 1,
        **AFTER_CHOOSING,
    }
    copied_project.run()
    assert copied_project.planned() == {}
    assert (folder / "checkpoints/finetuned/tiny/assistant/seed-1/model.safetensors").stat().st_mtime_ns == assistant

    sweep = json.loads((results / "spam" / "sweep.json").read_text())
    trials = sorted(path.name for path in (results / "spam" / "grid").iterdir())
    assert sorted(member["name"] for member in sweep["members"]) == trials
    assert len(trials) == 4
    for trial in trials:
        assert splits_in(results / "spam" / "grid" / trial / "seed-1" / "predictions.parquet") == {"validation"}
    assert splits_in(results / "spam" / "seed-1" / "predictions.parquet") == {"validation", "test"}
    weights = "seed-1/model.safetensors"
    chosen = folder / "checkpoints/trials/tiny/spam/grid" / sweep["chosen"] / weights
    assert (folder / "checkpoints/finetuned/tiny/spam" / weights).read_bytes() == chosen.read_bytes()
    # What it gave on the validation split as a trial, it gives as the run, with features and without.
    validation = json.loads((results / "spam" / "summary.json").read_text())["validation"]["f1"]["mean"]
    assert sweep["members"][0]["metrics"]["f1"]["mean"] == pytest.approx(validation)

    curve = json.loads((results / "assistant" / "learning_curve.json").read_text())
    assert [point["training_rows"] for point in curve["points"]] == [9, 18, 36]
    loss = json.loads((results / "assistant" / "summary.json").read_text())["metrics"]["loss"]["mean"]
    assert curve["points"][-1]["mean"] == pytest.approx(loss)

    page = (results / "report.html").read_text()
    assert "Of 4 combinations this one was chosen" in page
    assert "What more data give" in page

    # One value more, one share more: only what is new is trained. One less: nothing.
    write_grid(copied_project, [0.1, *RATES], [0.25, 0.5, 0.75])
    more = copied_project.planned()
    assert (more["finetune_trial"], more["score_trial"], more["predict"]) == (3, 1, 3)
    assert "trunk_features" not in more
    write_grid(copied_project, RATES[:1], [0.5])
    assert copied_project.planned() == {"choose": 1, "learning_curve": 1, "predict": 1, **AFTER_CHOOSING}

    # The trials' checkpoints may go, to free the disk.
    write_grid(copied_project, RATES, [0.25, 0.5])
    shutil.rmtree(folder / "checkpoints" / "trials")
    assert copied_project.planned() == {}
    config = copied_project.config()
    config["evaluation"]["bootstrap_samples"] = 60
    copied_project.write_config(config)
    scored = {"evaluate": 2, "summarize": 2, "sweep": 1, "learning_curve": 1, "collect_metrics": 1, "report": 1}
    assert copied_project.planned() == scored
