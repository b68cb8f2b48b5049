"""A run's grid: what it stands for, which combination is chosen, what the report says of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, log_loss

from gptsmith.config.evaluation import Evaluation
from gptsmith.config.load import load_config
from gptsmith.config.problems import nearest
from gptsmith.config.runs import Run
from gptsmith.config.sweeps import PATHS
from gptsmith.errors import UserError
from gptsmith.evaluation.choosing import choose
from gptsmith.evaluation.chosen import CHECKPOINT, keep_chosen
from gptsmith.evaluation.sweep import describe_sweep
from gptsmith.evaluation.trials import read_trial
from gptsmith.files import write_json
from gptsmith.report import sweeps

SETTINGS = Evaluation(bootstrap_samples=100)


def run_with(grid: dict[str, list[Any]], **settings: Any) -> Run:
    return Run.model_validate({"dataset": "messages", "model": "tiny", "grid": grid, **settings})


def problems_of(grid: dict[str, Any], **settings: Any) -> list[str]:
    """Of a config whose only run has this grid."""
    source = {"sources": [{"path": "messages.csv"}], "format": {"type": "csv"}}
    config = {
        "name": "own",
        "datasets": {"messages": {"task": "classification", **source, **settings.pop("dataset", {})}},
        "tokenizers": {"bpe": {"train_on": ["messages"], "vocab_size": 300}},
        "models": {
            "tiny": {
                "tokenizer": "bpe",
                "architecture": {"context_length": 32, "d_model": 8, "n_layers": 2, "n_heads": 2},
                "random": True,
            }
        },
        "runs": {"spam": {"dataset": "messages", "model": "tiny", "grid": grid, **settings}},
    }
    with pytest.raises(UserError) as error:
        load_config(config)
    return str(error.value).splitlines()


# What a grid stands for


def test_every_combination_is_a_run_of_its_own() -> None:
    grid = {"training.learning_rate": ["1e-4", 5e-4], "trainable": ["head", {"last_blocks": 1}]}
    run = run_with(grid, training={"epochs": 2}, seeds=[1, 2])
    members = {name: run.chosen(values) for name, values in run.combinations.items()}
    assert list(members) == [
        "learning_rate-0.0001,trainable-head",
        "learning_rate-0.0001,trainable-last_blocks-1",
        "learning_rate-0.0005,trainable-head",
        "learning_rate-0.0005,trainable-last_blocks-1",
    ]
    member = members["learning_rate-0.0005,trainable-last_blocks-1"]
    assert (member.training.learning_rate, member.training.epochs, member.trained_blocks) == (5e-4, 2, 1)
    assert (member.seeds, member.grid) == ([1, 2], {})


def test_a_part_of_a_setting_varies() -> None:
    run = run_with({"trainable.lora.rank": [2, 4]}, trainable={"lora": {"rank": 1, "alpha": 8}})
    assert list(run.combinations) == ["rank-2", "rank-4"]
    assert run.chosen({"trainable.lora.rank": 4}).trainable.model_dump() == {"lora": {"rank": 4, "alpha": 8}}  # type: ignore[union-attr]


def test_names_do_not_depend_on_what_else_is_in_the_grid() -> None:
    rates, kinds = [1e-4, 5e-4, 1e-3], ["all", "head"]
    few = run_with({"training.learning_rate": rates[:2], "trainable": kinds}).combinations
    many = run_with({"trainable": kinds[::-1], "training.learning_rate": rates[::-1]}).combinations
    assert few.keys() < many.keys()
    assert all(many[name] == values for name, values in few.items())


def test_names_are_of_characters_that_paths_and_shells_take() -> None:
    grid = {
        "trainable": ["all", {"lora": {"rank": 8, "alpha": 0.5}}],
        "training.gradient_clip": [None, 1e-7],
        "max_length": [None, 10],
    }
    names = list(run_with(grid).combinations)
    assert len(set(names)) == 8
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-,.") for name in names)


def test_all_that_is_wrong_with_a_grid_is_said_at_once() -> None:
    assert problems_of({"training.learning_rat": [1], "seeds": [[1]], "generation.temperature": [0.5]}) == [
        "config: runs.spam.grid: training.learning_rat: not a setting that a grid can vary; "
        "did you mean 'training.learning_rate'?",
        *(
            f"config: runs.spam.grid: {path}: not a setting that a grid can vary{nearest(path, PATHS)}"
            for path in ("seeds", "generation.temperature")
        ),
    ]
    shown = problems_of({"training.learning_rate": [-1, "much"], "trainable": ["hed", {"last_blocks": 0}]})
    assert shown == [
        "config: runs.spam.grid: trainable: input should be 'all' or 'head' (found 'hed')",
        "config: runs.spam.grid: training.learning_rate: input should be greater than 0 (found -1)",
        "config: runs.spam.grid: trainable.last_blocks: input should be greater than 0 (found 0)",
        "config: runs.spam.grid: training.learning_rate: "
        "input should be a valid number, unable to parse string as a number (found 'much')",
    ]


# fmt: off
WRONG = [
    # grid                                                      words
    ({"training.epochs": []},                                   "runs.spam.grid.training.epochs: list should have"),
    ({"training.epochs": [1, 1.0]},                             "runs.spam.grid: epochs-1: named twice"),
    ({"training.micro_batch_size": [3]},                        "batch_size (8) must be a multiple of micro_batch_siz"),
    ({"trainable": ["all"], "trainable.last_blocks": [1]},      "trainable.last_blocks: is a part of trainable, which"),
    ({"max_length": [16, 33]},                                  "runs.spam.grid: max_length: 33 tokens, but the model"),
    ({"trainable": [{"last_blocks": 3}, "all"]},                "runs.spam.grid: trainable.last_blocks: 3 blocks, but"),
    ({"loss_on": ["all", "response"]},                          "runs.spam.grid: loss_on: only instruction runs have"),
]
# fmt: on


@pytest.mark.parametrize(("grid", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_grid_that_cannot_be(grid: dict[str, Any], words: str) -> None:
    (line,) = problems_of(grid)
    assert words in line


def test_a_grid_needs_a_validation_split() -> None:
    split = {"split": {"train": 0.8, "validation": 0, "test": 0.2}}
    (line,) = problems_of({"training.epochs": [1, 2]}, dataset=split)
    assert line.startswith("config: runs.spam.grid: is chosen from on the validation split; give messages a split.val")


def test_a_learning_curve_is_of_one_setting() -> None:
    (line,) = problems_of({"training.epochs": [1, 2]}, learning_curve=[0.5])
    assert line.startswith("config: runs.spam.learning_curve: a run with a grid has none; make it one of another run")


# Which is chosen


def write_predictions(path: Path, probabilities: list[float], labels: list[int]) -> None:
    """Of class `spam`; 1 is spam."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = np.array(["ham", "spam"])
    given = np.array(probabilities)
    frame = pd.DataFrame(
        {
            "id": range(len(labels)),
            "split": "validation",
            "text": "some text",
            "label": names[labels],
            "prediction": names[(given > 0.5).astype(int)],
            "probability_ham": 1 - given,
            "probability_spam": given,
        }
    )
    frame.to_parquet(path)


LABELS = [0, 1, 1, 0, 1, 0]
GIVEN = {
    "unsure": [0.1, 0.6, 0.6, 0.2, 0.6, 0.4],  # all right
    "sure": [0.1, 0.9, 0.9, 0.2, 0.9, 0.1],  # all right, and surer of it
    "wrong": [0.6, 0.4, 0.9, 0.2, 0.9, 0.1],
}


def chosen_from(folder: Path, given: dict[str, list[list[float]]], labels: list[int] = LABELS) -> dict[str, Any]:
    for name, by_seed in given.items():
        for seed, one in enumerate(by_seed):
            write_predictions(folder / name / f"seed-{seed}" / "predictions.parquet", one, labels)
    members = {name: {"training.epochs": float(place)} for place, name in enumerate(given)}
    n_seeds = len(next(iter(given.values())))
    return sweep_of(folder, "classification", "spam", members, range(n_seeds))


def sweep_of(
    folder: Path, task: str, positive_label: str | None, members: dict[str, Any], seeds: Sequence[int]
) -> dict[str, Any]:
    """sweep.json, whose first one is the one in chosen.json."""
    about: dict[str, Any] = {"task": task, "positive_label": positive_label, "members": members, "seeds": seeds}
    choose(run="mine", **about, results=folder, output=folder / "chosen.json")
    describe_sweep(run="mine", **about, results=folder, settings=SETTINGS, output=folder / "sweep.json")
    chosen, sweep = (json.loads((folder / f"{file}.json").read_text()) for file in ("chosen", "sweep"))
    assert sweep["chosen"] == sweep["members"][0]["name"] == chosen["name"]
    assert chosen == {"run": "mine", "name": sweep["chosen"], "settings": members[sweep["chosen"]]}
    return sweep


def test_the_highest_f1_is_chosen_and_among_equals_the_lowest_loss(tmp_path: Path) -> None:
    sweep = chosen_from(tmp_path, {name: [given] for name, given in GIVEN.items()})
    assert [member["name"] for member in sweep["members"]] == ["sure", "unsure", "wrong"]
    assert sweep["chosen"] == "sure"
    assert sweep["rows"] == 6
    for member in sweep["members"]:
        given = np.array(GIVEN[member["name"]])
        assert member["metrics"]["f1"]["mean"] == pytest.approx(f1_score(LABELS, given > 0.5))
        assert member["metrics"]["loss"]["mean"] == pytest.approx(log_loss(LABELS, given))


def test_the_mean_over_the_seeds_decides(tmp_path: Path) -> None:
    right, wrong = GIVEN["sure"], GIVEN["wrong"]
    sweep = chosen_from(tmp_path, {"lucky-once": [right, wrong], "always": [right, right]})
    assert sweep["chosen"] == "always"
    lucky = sweep["members"][1]
    assert lucky["metrics"]["f1"]["mean"] == pytest.approx((1 + f1_score(LABELS, np.array(wrong) > 0.5)) / 2)
    assert lucky["metrics"]["f1"]["standard_deviation"] > 0
    assert lucky["difference"]["difference"] == pytest.approx(lucky["metrics"]["f1"]["mean"] - 1)
    assert lucky["difference"]["low"] <= lucky["difference"]["difference"] <= lucky["difference"]["high"] <= 0


def test_nothing_is_chosen_by_a_metric_that_is_undefined(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mine: f1 is undefined on the validation split"):
        chosen_from(tmp_path, {"one": [[0.1] * 6]}, labels=[0] * 6)


def test_instructions_are_chosen_by_the_loss_of_all_tokens(tmp_path: Path) -> None:
    for name, nll in {"worse": [2.0, 30.0], "better": [4.0, 26.0]}.items():
        folder = tmp_path / name / "seed-1"
        folder.mkdir(parents=True)
        rows = {"id": [7, 3], "negative_log_likelihood": nll, "target_tokens": [1, 9]}
        pd.DataFrame(rows).to_parquet(folder / "likelihoods.parquet")
    sweep = sweep_of(tmp_path, "instruction", None, {"worse": {}, "better": {}}, [1])
    assert sweep["chosen"] == "better"
    assert [member["metrics"]["loss"]["mean"] for member in sweep["members"]] == pytest.approx([3.0, 3.2])


def test_combinations_measured_on_other_items_are_refused(tmp_path: Path) -> None:
    chosen_from(tmp_path, {"one": [GIVEN["sure"]], "two": [GIVEN["sure"]]})
    write_predictions(tmp_path / "two" / "seed-0" / "predictions.parquet", GIVEN["sure"][:5], LABELS[:5])
    with pytest.raises(UserError, match="not about the items of"):
        choose(
            run="spam",
            task="classification",
            positive_label="spam",
            members={"one": {}, "two": {}},
            seeds=[0],
            results=tmp_path,
            output=tmp_path / "other.json",
        )


# fmt: off
BROKEN = [
    # columns                                                                           words
    ({"id": [1], "negative_log_likelihood": [2.0]},                                     "no column target_tokens"),
    ({"id": [1], "negative_log_likelihood": [float("nan")], "target_tokens": [3]},      "not a finite number"),
]
# fmt: on


@pytest.mark.parametrize(("columns", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_likelihoods_that_cannot_be_ranked(columns: dict[str, Any], words: str, tmp_path: Path) -> None:
    pd.DataFrame(columns).to_parquet(tmp_path / "likelihoods.parquet")
    with pytest.raises(UserError, match=rf"likelihoods\.parquet: .*{words}"):
        read_trial(tmp_path / "likelihoods.parquet", "validation")


def test_the_chosen_one_takes_the_place_of_the_run(tmp_path: Path) -> None:
    def trial(name: str, trainable: Any) -> None:
        checkpoint, results = (tmp_path / kind / name / "seed-1" for kind in ("checkpoints", "results"))
        for file in (*CHECKPOINT, "adapter.safetensors"):
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / file).write_text(f"{file} of {name}")
        write_json(results / "provenance.json", {"settings": {"trainable": trainable}})
        (results / "history.parquet").write_text(f"history of {name}")

    def keep(chosen: str) -> dict[str, str]:
        write_json(tmp_path / "chosen.json", {"name": chosen})
        keep_chosen(
            tmp_path / "chosen.json",
            1,
            tmp_path / "checkpoints",
            tmp_path / "results",
            tmp_path / "run",
            tmp_path / "run",
        )
        return {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}

    trial("adapted", {"lora": {"rank": 1, "alpha": 1}})
    trial("whole", "all")
    first = keep("adapted")
    assert first["adapter.safetensors"] == "adapter.safetensors of adapted"
    second = keep("whole")
    assert second.keys() == {*CHECKPOINT, "history.parquet", "provenance.json"}
    assert second["model.safetensors"] == "model.safetensors of whole"


# What the report says of it


def test_the_report_ranks_with_the_words_of_the_intervals(tmp_path: Path) -> None:
    given = GIVEN | {"all-wrong": [0.9, 0.1, 0.1, 0.9, 0.1, 0.9]}
    view = sweeps.view("run-0", chosen_from(tmp_path, {name: [one] for name, one in given.items()}))
    assert view.metrics == ["F1", "Loss (nats per text)"]
    assert [member.values for member in view.members] == [["1"], ["0"], ["2"], ["3"]]
    assert [member.verdict for member in view.members] == [None, "no difference found", "no difference found", "worse"]
    assert view.lead == (
        "Of 4 combinations this one was chosen: epochs 1. Of the others, 2 had no difference in F1 from it that the "
        "validation split could show."
    )
    assert str(view.chart.svg).startswith("<svg")


def test_a_label_without_a_chance_is_a_large_loss(tmp_path: Path) -> None:
    metrics = chosen_from(tmp_path, {"one": [[0.1, 0, 0.9, 0.2, 0.9, 0.1]]})["members"][0]["metrics"]
    assert 100 < metrics["loss"]["mean"] < 200
    assert metrics["loss"]["high"] is not None
