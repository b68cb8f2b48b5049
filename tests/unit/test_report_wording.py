"""The sentences of the report."""

import pytest
from report_files import around, classification_summary

from gptsmith.report.wording import headline, verdict, warning


@pytest.mark.parametrize(
    ("metric", "low", "high", "word"),
    [
        ("f1", 0.01, 0.04, "better"),
        ("f1", -0.04, -0.01, "worse"),
        ("f1", -0.01, 0.04, "no difference found"),
        ("f1", 0.0, 0.04, "no difference found"),
        ("loss", -0.3, -0.1, "better"),
        ("perplexity", 0.1, 0.3, "worse"),
        ("roc_auc", None, None, "undefined"),
    ],
)
def test_verdict_follows_the_interval(metric: str, low: float | None, high: float | None, word: str) -> None:
    assert verdict(metric, low, high) == word


def test_headline_names_the_strongest_baseline() -> None:
    summary = classification_summary("spam", "small", [1], 905, 0.93)
    summary["baselines"]["majority"]["f1"] = around(0.95)
    assert "majority class 0.950" in str(headline(summary))


def test_a_lead_of_the_baseline_is_said_plainly() -> None:
    better = classification_summary("spam", "small", [1], 905, 0.95)
    assert warning(better) is None
    unsure = classification_summary("spam", "small", [1, 2], 905, 0.885)
    said = warning(unsure)
    assert said is not None
    assert said.startswith("TF-IDF + logistic regression scored higher here: F1 0.912 against 0.885")
    assert "905 test texts" in said
    assert "the mean of 2 seeds" in said
    assert said.endswith("The interval holds 0, so chance is not ruled out.")
