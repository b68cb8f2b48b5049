"""Classification metrics: the numbers of scikit-learn for any predictions and any resample, and files that
are refused."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.classification import (
    METRICS,
    RATES,
    class_estimates,
    classification_statistic,
    confusion_matrix,
    evaluate_classification,
    read_predictions,
)

# Those of the answers and of the ranking; those of the probabilities are in test_calibration.py.
ANSWER_METRICS = METRICS[:6]


def predictions(labels: Any, scores: Any, predicted: Any, names: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({"id": range(len(labels)), "label": labels, "prediction": predicted})
    return frame.join(pd.DataFrame(scores, columns=[f"probability_{name}" for name in names]))


@st.composite
def resampled_predictions(draw: st.DrawFn, names: str) -> tuple[pd.DataFrame, list[int]]:
    n = draw(st.integers(1, 25))
    label, predicted = (draw(st.lists(st.sampled_from(names), min_size=n, max_size=n)) for _ in range(2))
    score = st.sampled_from([0.0, 0.2, 0.5, 0.5000001, 1.0]) | st.floats(0, 1)  # ties are common
    scores = [draw(st.lists(score, min_size=len(names), max_size=len(names))) for _ in range(n)]
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    return predictions(label, scores, predicted, list(names)), counts


def expected(items: pd.DataFrame, classes: list[str]) -> dict[str, float]:
    """The definitions of the module's docstring, by scikit-learn, for items that are really repeated."""
    label, predicted = items["label"].to_numpy(), items["prediction"].to_numpy()
    occurring = [name for name in classes if (label == name).any()]
    separable = [name for name in occurring if (label != name).any()]

    def macro(metric: Any, over: list[str]) -> float:
        return float(np.mean([metric(name) for name in over])) if over else math.nan

    precision = recall = f1 = math.nan
    if occurring:
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            label, predicted, average="macro", labels=occurring, zero_division=0
        )
    return {
        "accuracy": reference.accuracy_score(label, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "roc_auc": macro(lambda c: reference.roc_auc_score(label == c, items[f"probability_{c}"]), separable),
        "average_precision": macro(
            lambda c: reference.average_precision_score(label == c, items[f"probability_{c}"]), occurring
        ),
    }


def check(frame: pd.DataFrame, counts: list[int], positive_label: str | None, classes: list[str]) -> None:
    weights = np.array([np.ones(len(frame)), counts])
    values = classification_statistic(frame, positive_label)(weights)
    assert tuple(values) == METRICS
    for row, items in enumerate([frame, frame.loc[frame.index.repeat(counts)]]):
        assert {name: values[name][row] for name in ANSWER_METRICS} == pytest.approx(
            expected(items, classes), nan_ok=True
        )


@settings(max_examples=30, deadline=None)
@given(resampled_predictions("ab"))
def test_binary_metrics_are_those_of_scikit_learn(sample: tuple[pd.DataFrame, list[int]]) -> None:
    check(*sample, "b", ["b"])


@settings(max_examples=15, deadline=None)
@given(resampled_predictions("abcd"))
def test_macro_metrics_are_those_of_scikit_learn(sample: tuple[pd.DataFrame, list[int]]) -> None:
    check(*sample, None, list("abcd"))


def test_macro_roc_auc_is_one_against_the_rest() -> None:
    generator = np.random.default_rng(0)
    label, scores = generator.choice(list("abc"), size=200), generator.dirichlet(np.ones(3), size=200)
    frame = predictions(label, scores, label, list("abc"))
    value = classification_statistic(frame, None)(np.ones((1, 200)))["roc_auc"][0]
    assert value == pytest.approx(reference.roc_auc_score(label, scores, multi_class="ovr", average="macro"))


def test_rates_of_each_class_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    label, predicted = (generator.choice(list("abc"), size=60) for _ in range(2))
    found = class_estimates(predictions(label, np.zeros((60, 3)), predicted, list("abc")), list("cab"), Evaluation())
    expected = reference.precision_recall_fscore_support(label, predicted, labels=list("cab"), zero_division=0)
    for place, (name, rates) in enumerate(found.items()):
        assert name == "cab"[place]
        assert [rates[rate].value for rate in RATES] == pytest.approx([column[place] for column in expected[:3]])
        low, high = rates["f1"].interval(0.95)
        assert low < rates["f1"].value < high


def test_confusion_matrix_has_every_label() -> None:
    frame = predictions(["a", "a", "b", "a"], np.zeros((4, 3)), ["a", "b", "b", "b"], ["b", "a", "c"])
    matrix = confusion_matrix(frame)
    assert list(matrix.index) == list(matrix.columns) == ["b", "a", "c"]
    assert matrix.to_numpy().tolist() == [[1, 0, 0], [2, 1, 0], [0, 0, 0]]


@pytest.fixture
def spam() -> pd.DataFrame:
    """20 test and 10 validation items: sixes are spam; test item 6 is missed, validation is all right."""
    label = ["spam" if i % 6 == 0 else "ham" for i in range(30)]
    score = [0.9 if name == "spam" else 0.1 for name in label]
    score[6] = 0.3
    predicted = ["spam" if p > 0.5 else "ham" for p in score]
    frame = predictions(label, [[1 - p, p] for p in score], predicted, ["ham", "spam"])
    return frame.assign(split=["test"] * 20 + ["validation"] * 10)


def evaluate(frame: pd.DataFrame, folder: Path, positive_label: str | None = "spam") -> dict[str, Any]:
    frame.to_parquet(folder / "predictions.parquet")
    evaluate_classification(folder / "predictions.parquet", positive_label, Evaluation(), folder / "metrics.json")
    return json.loads((folder / "metrics.json").read_text())


def test_metrics_file(spam: pd.DataFrame, tmp_path: Path) -> None:
    metrics = evaluate(spam, tmp_path)
    with_threshold = [f"{rate}_at_threshold" for rate in RATES]
    assert set(metrics) == {"test_rows", "threshold", *(f"validation_{m}" for m in METRICS)} | {
        f"test_{m}{end}" for m in [*METRICS, *with_threshold] for end in ("", "_low", "_high")
    }
    assert metrics["test_rows"] == 20
    assert metrics["test_accuracy"] == 0.95
    assert (metrics["test_precision"], metrics["test_recall"]) == (1, 0.75)
    assert metrics["test_f1"] == pytest.approx(6 / 7)
    assert metrics["test_roc_auc"] == 1  # the missed one still ranks above all ham
    assert all(metrics[f"validation_{name}"] == 1 for name in ANSWER_METRICS)
    # Validation has scores of 0.9 and 0.1 alone, so the threshold lies between them, and misses what 0.5 misses.
    assert metrics["threshold"] == 0.5
    assert all(metrics[f"test_{rate}_at_threshold"] == metrics[f"test_{rate}"] for rate in RATES)
    for name in [*METRICS, *with_threshold]:
        ends = [metrics[f"test_{name}_low"], metrics[f"test_{name}"], metrics[f"test_{name}_high"]]
        assert ends == sorted(ends)


def test_order_of_the_rows_does_not_matter(spam: pd.DataFrame, tmp_path: Path) -> None:
    assert evaluate(spam, tmp_path) == evaluate(spam.sample(frac=1, random_state=0), tmp_path)


def test_all_right_is_certain(spam: pd.DataFrame, tmp_path: Path) -> None:
    metrics = evaluate(spam[spam["id"] != 6], tmp_path)
    assert all(metrics[f"test_{name}{end}"] == 1 for name in ANSWER_METRICS for end in ("", "_low", "_high"))


def test_the_threshold_comes_from_validation_alone(spam: pd.DataFrame, tmp_path: Path) -> None:
    is_validation = spam["split"] == "validation"
    lower = spam["probability_spam"].mask(is_validation & (spam["label"] == "spam"), 0.2)
    metrics = evaluate(spam.assign(probability_spam=lower, probability_ham=1 - lower), tmp_path)
    assert metrics["threshold"] == pytest.approx(0.15)  # between 0.1 and 0.2
    assert (metrics["test_recall"], metrics["test_recall_at_threshold"]) == (0.75, 1)  # test item 6 has 0.3
    without = evaluate(spam[~is_validation], tmp_path)
    assert "threshold" not in without
    assert "threshold" not in evaluate(spam, tmp_path, positive_label=None)


def test_one_class_leaves_only_accuracy(spam: pd.DataFrame, tmp_path: Path) -> None:
    metrics = evaluate(spam[spam["label"] == "ham"], tmp_path)
    assert metrics["test_accuracy"] == 1
    undefined = set(ANSWER_METRICS) - {"accuracy"}
    assert all(metrics[f"test_{name}{end}"] is None for name in undefined for end in ("", "_low", "_high"))


def test_one_row(spam: pd.DataFrame, tmp_path: Path) -> None:
    metrics = evaluate(spam.head(1), tmp_path)
    assert [metrics[f"test_{name}"] for name in ANSWER_METRICS] == [1, 1, 1, 1, None, 1]
    assert (metrics["test_f1_low"], metrics["test_f1_high"], metrics["test_roc_auc_low"]) == (1, 1, None)
    assert metrics["validation_f1"] is None


def with_value(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The frame with `value` in the row of id 3."""
    return frame.assign(**{column: frame[column].mask(frame["id"] == 3, value)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns=["prediction", "split"]), "no column split, prediction"),
        (lambda frame: with_value(frame, "probability_spam", math.nan), "id 3: a probability is not a number"),
        (lambda frame: with_value(frame, "probability_ham", 1.5), "id 3: a probability is not a number"),
        (lambda frame: with_value(frame, "prediction", "eggs"), "id 3: prediction 'eggs' has no column"),
        (lambda frame: with_value(frame, "label", None), "id 3: label None has no column"),
        (lambda frame: with_value(frame, "id", 4), "id 4 occurs more than once in split test"),
        (lambda frame: frame[frame["split"] != "test"], "no rows of the test split"),
        (lambda frame: frame.drop(columns="probability_ham"), "label 'ham' has no column"),
    ],
)
def test_predictions_that_break_the_contract(spoil: Any, message: str, spam: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as raised:
        evaluate(spoil(spam), tmp_path)
    assert str(tmp_path / "predictions.parquet") in str(raised.value)
    assert not (tmp_path / "metrics.json").exists()


def test_positive_label_that_is_no_label(spam: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"positive label 'Spam' .* ham, spam"):
        evaluate(spam, tmp_path, positive_label="Spam")


def test_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "predictions.parquet").write_text("id,label\n")
    with pytest.raises(UserError, match=r"predictions\.parquet: not a readable Parquet file"):
        read_predictions(tmp_path / "predictions.parquet")
