"""What the report says of several runs side by side."""

from pathlib import Path
from typing import Any

import pytest
from report_files import Results, around_zero
from report_page import Page


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results")).write()


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return Page(results.build())


def test_verdicts_follow_the_numbers(page: Page) -> None:
    said = page.said("verdicts")
    assert "F1 0.931 [0.901, 0.961] spam classification on sms, from small" in said
    assert (
        "○ no difference found against TF-IDF + logistic regression 0.912: difference +0.019 [−0.011, +0.049]" in said
    )
    assert "Measured on 60 test texts, mean of 2 seeds. None of them is in the training or validation split." in said
    assert "F1 0.780 [0.750, 0.810] spam-random" in said
    assert "▼ worse against TF-IDF + logistic regression 0.912" in said
    assert "TF-IDF + logistic regression is better than the fine-tuned model here: F1 0.912 against 0.780" in said
    assert "▲ better against before fine-tuning 0.000: difference +0.410 [+0.380, +0.440]" in said
    assert "▲ better against nearest neighbour 0.300" in said


def test_runs_stand_in_the_order_of_the_config(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    results.settings["runs"] = dict(reversed(results.settings["runs"].items()))
    verdicts = Page(results.build()).said("verdicts")
    places = [verdicts.index(f" {run} ") for run in ("assistant", "spam-random", "spam")]
    assert places == sorted(places)


def test_pretraining_is_compared_with_random_weights(page: Page) -> None:
    said = page.said("siblings")
    assert (
        "F1 of spam 0.931, of spam-random (random weights) 0.780: spam is better "
        "(difference +0.151 [+0.121, +0.181])." in said
    )
    assert "spam spam-random +0.151 [+0.121, +0.181] ▲ better 17 3 0.0026 ▲ better" in said
    assert "Besides the model the runs differ in trainable." in said


def test_runs_that_cannot_be_told_apart_are_said_to_be_so(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    results.settings["models"]["blank"] = results.settings["models"]["small"]

    def blur(found: dict[str, Any]) -> None:
        found["pairs"][0]["differences"]["f1"] = around_zero(-0.01, 0.03)
        found["pairs"][0]["mcnemar"]["p_value"] = 0.06

    results.edit("comparisons/sms.json", blur)
    said = Page(results.build()).said("siblings")
    assert "Runs on the same dataset" in said
    assert "spam-random spam −0.010 [−0.040, +0.020] ○ no difference found 3 17 0.06 ○ no difference found" in said
