"""Trainings on a part of the data, and the curve that they make."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.config.evaluation import Evaluation
from gptsmith.data.prepared import SCHEMAS, write_prepared
from gptsmith.data.subsets import nested_subset
from gptsmith.evaluation.baselines import classification_baselines
from gptsmith.evaluation.bootstrap import on_all_items
from gptsmith.evaluation.classification import classification_statistic, read_baseline_predictions
from gptsmith.evaluation.learning_curve import trace_learning_curve
from gptsmith.files import write_json
from gptsmith.report import learning_curve

# Which rows


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_smaller_parts_are_within_larger_ones(classes: list[int], seed: int, data: st.DataObject) -> None:
    strata = np.array(classes)
    small, large = sorted(data.draw(st.lists(st.floats(0.01, 1), min_size=2, max_size=2)))
    fewer, more = (set(nested_subset(strata, share, seed).tolist()) for share in (small, large))
    assert fewer <= more
    assert {classes[row] for row in fewer} == set(classes)
    for one in set(classes):
        n, chosen = classes.count(one), sum(classes[row] == one for row in fewer)
        assert chosen == max(1, round(small * n))


def test_the_whole_is_all_rows_in_order_and_another_seed_chooses_others() -> None:
    strata = np.arange(50) % 2
    assert nested_subset(strata, 1.0, 3).tolist() == list(range(50))
    assert nested_subset(strata, 0.2, 3).tolist() != nested_subset(strata, 0.2, 4).tolist()


# The curve


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    batches: dict[str, Any] = {}
    for first, (split, n) in enumerate({"train": 40, "validation": 4, "test": 20}.items()):
        ids = [1000 * first + 2 * row for row in range(n)]
        labels = ["spam" if i % 4 == 0 else "ham" for i in ids]
        texts = [f"{'win a prize' if label == 'spam' else 'see you'} {i}" for label, i in zip(labels, ids, strict=True)]
        table = pa.table({"id": ids, "text": texts, "label": labels}, schema=SCHEMAS["classification"])
        batches[split] = table.to_batches()
    write_prepared(folder, batches, {"task": "classification", "labels": ["ham", "spam"], "positive_label": "spam"})
    return folder


def curve_of(prepared: Path, folder: Path, right: dict[float, list[float]]) -> dict[str, Any]:
    """right: by share, the share of test texts that each seed gets right."""
    test = pd.read_parquet(prepared / "test.parquet", partitioning=None)
    answers: dict[float, dict[int, Path]] = {}
    for share, by_seed in right.items():
        for seed, accuracy in enumerate(by_seed):
            is_spam = (test["label"] == "spam").to_numpy()
            is_spam[int(accuracy * len(test)) :] ^= True
            path = folder / f"share-{share}" / f"seed-{seed}" / "predictions.parquet"
            path.parent.mkdir(parents=True)
            frame = test.assign(
                split="test",
                prediction=np.where(is_spam, "spam", "ham"),
                probability_ham=1.0 - is_spam,
                probability_spam=is_spam.astype(float),
            )
            frame.to_parquet(path)
            write_json(path.with_name("provenance.json"), {"training_rows": round(40 * share)})
            answers.setdefault(share, {})[seed] = path
    trace_learning_curve(
        run="spam",
        prepared=prepared,
        answers=answers,
        provenance={share: files[0].with_name("provenance.json") for share, files in answers.items()},
        settings=Evaluation(bootstrap_samples=200),
        output=folder / "curve.json",
    )
    return json.loads((folder / "curve.json").read_text())


def test_each_size_has_its_value_its_step_and_its_baseline(prepared: Path, tmp_path: Path) -> None:
    curve = curve_of(prepared, tmp_path, {1.0: [1.0, 1.0], 0.25: [0.3, 0.4], 0.5: [0.9, 0.9]})
    assert [point["training_rows"] for point in curve["points"]] == [10, 20, 40]
    assert (curve["metric"], curve["rows"], curve["seeds"]) == ("f1", 20, [0, 1])
    small, half, whole = curve["points"]
    assert small["since_before"] is None
    assert small["standard_deviation"] > 0
    assert half["since_before"]["difference"] == pytest.approx(half["mean"] - small["mean"])
    assert half["since_before"]["low"] > 0
    assert whole["mean"] == 1
    assert whole["against_baseline"]["difference"] == pytest.approx(1 - whole["baseline"]["value"])


def test_the_baseline_of_all_rows_is_the_baseline_of_the_run(prepared: Path, tmp_path: Path) -> None:
    whole = curve_of(prepared, tmp_path, {0.1: [0.5], 1.0: [1.0]})["points"][-1]
    classification_baselines(prepared, tmp_path / "baselines.parquet")
    rows = read_baseline_predictions(tmp_path / "baselines.parquet")["tfidf_logistic_regression"]
    expected = on_all_items(classification_statistic(rows, "spam"), len(rows))["f1"]
    assert whole["baseline"]["value"] == expected


def test_the_report_says_what_the_last_step_gave(prepared: Path, tmp_path: Path) -> None:
    view = learning_curve.view("run-0", curve_of(prepared, tmp_path, {0.25: [0.3], 0.5: [0.9], 1.0: [0.9]}))
    assert view.lead == "From 20 to 40 training texts: no difference found (difference in F1 +0.000 [+0.000, +0.000])."
    assert [point.verdict for point in view.points] == [None, "better", "no difference found"]
    svg = str(view.chart.svg)
    assert all(f">{size}<" in svg for size in (10, 20, 40))
    assert "log axis" in svg
    assert [entry[2] for entry in view.chart.legend] == ["fine-tuned", "TF-IDF + logistic regression"]
