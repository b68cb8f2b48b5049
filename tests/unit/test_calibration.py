"""Calibration: the numbers of scikit-learn and of hand, and constructions whose calibration is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from gptsmith.evaluation.calibration import BINS, calibration_statistic, reliability


def measured(probabilities: Any, label: Any, weights: Any = None) -> dict[str, float]:
    probabilities, label = np.asarray(probabilities, dtype=float), np.asarray(label)
    weights = np.ones((1, len(label))) if weights is None else np.asarray([weights], dtype=float)
    values = calibration_statistic(probabilities, label, probabilities.argmax(axis=1))(weights)
    return {name: float(value[0]) for name, value in values.items()}


def test_by_hand() -> None:
    # Confidences 0.9 (right), 0.9 (wrong), 0.6 (right), 0.55 (wrong): bins 8 and 5.
    values = measured([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.55, 0.45]], [0, 1, 1, 1])
    assert values["calibration_error"] == pytest.approx(2 / 4 * abs(0.9 - 0.5) + 2 / 4 * abs(0.575 - 0.5))
    assert values["brier_score"] == pytest.approx((0.1**2 + 0.9**2 + 0.4**2 + 0.55**2) / 4)
    assert values["log_loss"] == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.45]).mean())


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    n, n_classes = draw(st.integers(1, 20)), draw(st.integers(2, 4))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    label = generator.integers(n_classes, size=n)
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    return generator.dirichlet(np.full(n_classes, 0.3), size=n), label, counts


@settings(max_examples=50, deadline=None)
@given(samples())
def test_any_resample_gives_what_scikit_learn_gives(sample: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    probabilities, label, counts = sample
    values = measured(probabilities, label, counts)
    rows = np.repeat(np.arange(len(label)), counts)
    classes = list(range(probabilities.shape[1]))
    assert values["log_loss"] == pytest.approx(reference.log_loss(label[rows], probabilities[rows], labels=classes))
    brier = reference.brier_score_loss(label[rows], probabilities[rows], labels=classes)
    assert values["brier_score"] == pytest.approx(brier)
    assert values == pytest.approx(measured(probabilities[rows], label[rows]))
    assert 0 <= values["calibration_error"] <= 1


def test_the_diagram_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    confidence = generator.random(500)
    right = generator.random(500) < confidence**2
    bins = reliability(confidence, right)
    shares, means = calibration_curve(right, confidence, n_bins=BINS)
    assert [one.accuracy for one in bins] == pytest.approx(shares.tolist())
    assert [one.confidence for one in bins] == pytest.approx(means.tolist())
    assert sum(one.rows for one in bins) == 500


def test_a_bin_has_its_upper_edge() -> None:
    confidence = np.array([0.0, 0.1, 0.3, 0.7, np.nextafter(0.7, 1), 1.0])
    bins = [(round(one.low, 1), one.rows) for one in reliability(confidence, np.ones(6, bool))]
    assert bins == [(0.0, 2), (0.2, 1), (0.6, 1), (0.7, 1), (0.9, 1)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.55, 0.65, 0.75, 0.85, 0.95]), min_size=1, max_size=4, unique=True))
def test_what_is_as_sure_as_it_is_right_has_no_error(confidences: list[float]) -> None:
    probabilities = np.repeat([[c, 1 - c] for c in confidences], 20, axis=0)
    label = np.concatenate([np.arange(20) >= round(20 * c) for c in confidences]).astype(int)
    assert measured(probabilities, label)["calibration_error"] == pytest.approx(0, abs=1e-12)
    wrong = measured(probabilities, 1 - label)["calibration_error"]
    assert wrong == pytest.approx(np.mean([2 * c - 1 for c in confidences]))


def test_certainty_of_the_wrong_class_is_finite() -> None:
    values = measured([[1.0, 0.0], [1.0, 0.0]], [1, 0])
    assert values["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)
    assert values["brier_score"] == values["calibration_error"] == 0.5
