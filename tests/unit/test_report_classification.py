"""What the report says of a classification."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
from report_files import Results
from report_page import Page, assert_inert

from gptsmith.report.classification import threshold
from gptsmith.report.results import read_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results")).write()


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return Page(results.build())


def test_classes_threshold_and_near_copies_are_told(page: Page) -> None:
    said = page.said("run-0")
    ham = " ".join(["0.980 [0.950, 1.010]"] * 3)
    assert f"ham 45 {ham} 0.900 [0.870, 0.930]" in said
    assert "A text called spam from a probability of 0.31 (seed 1), 0.32 (seed 2) on, the best F1 on the valid" in said
    assert "Precision 0.931 ± 0.010 [0.901, 0.961] 0.951 ± 0.010 [0.921, 0.981] +0.020 [+0.010, +0.030] ▲" in said
    assert "F1 0.931 ± 0.010 [0.901, 0.961] 0.951 ± 0.010 [0.921, 0.981] +0.020 [−0.010, +0.050] ○ no differ" in said
    assert "gptsmith predict CHECKPOINT --threshold spam=0.31" in said
    assert "12 of 60 test texts are nearly the same as a training text." in said
    assert "F1 0.931 [0.901, 0.961] 0.831 [0.801, 0.861] 0.700 [0.670, 0.730]" in said
    assert "No test item is nearly the same as a training item." in page.said("run-2")
    assert "of the test split 12 are nearly the same as a training row" in page.said("data")


def test_a_threshold_is_told_exactly_and_as_a_shell_takes_it(results: Results) -> None:
    summary = read_run(results.root / "spam-random").summary
    found = {**summary["threshold"], "label": "not $pam", "by_seed": {"1": 0.9996}}
    view = threshold({**summary, "threshold": found})
    assert view is not None
    assert shlex.split(view.option) == ["not $pam=0.9996"]


def test_calibration_counts_every_answer(results: Results, page: Page) -> None:
    frames = [pd.read_parquet(results.root / f"spam/seed-{seed}/predictions.parquet") for seed in (1, 2)]
    test = pd.concat([frame[frame["split"] == "test"] for frame in frames])
    sure = test[test[["probability_ham", "probability_spam"]].max(axis=1) > 0.9]
    right = (sure["label"] == sure["prediction"]).mean()
    said = page.said("run-0").partition("Calibration")[2]
    assert f"0.9 – 1.0 {len(sure)} {right:.3f}" in said
    assert "Calibration error (ECE) 0.250 ± 0.010 [0.220, 0.280]" in said
    against = "Against TF-IDF + logistic regression: calibration error (ECE) ▲ better "
    assert f"{against}(difference −0.050 [−0.080, −0.020]" in said
    assert "Calibration error" not in page.said("run-0").partition("Classes")[0]


def test_confusion_counts_every_prediction(results: Results, page: Page) -> None:
    frames = [pd.read_parquet(results.root / f"spam/seed-{seed}/predictions.parquet") for seed in (1, 2)]
    test = pd.concat([frame[frame["split"] == "test"] for frame in frames])
    hit, total = ((test["label"] == "spam") & (test["prediction"] == "spam")).sum(), (test["label"] == "spam").sum()
    assert f"{hit} {100 * hit / total:.1f} %" in page.said("run-0").partition("Confusion")[2]


def test_three_classes_and_undefined_values(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.labels = ["bad", "good", "mixed"]
    del results.settings["runs"]["spam"], results.settings["runs"]["assistant"]
    results.write()
    undefined = {"mean": None, "standard_deviation": None, "low": None, "high": None, "by_seed": {"1": None}}
    results.edit("spam-random/summary.json", lambda summary: summary["metrics"].update(roc_auc=undefined))
    page = assert_inert(results.build())
    assert "ROC curve, each class against the rest, mean of 3" in page.said("run-0")
    assert "ROC AUC – " in page.said("run-0")
