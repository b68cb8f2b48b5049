"""The threshold: the best there is by trying all, whatever the scale of the scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from gptsmith.evaluation.thresholds import best_threshold

Sample = tuple[np.ndarray, np.ndarray]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    n = draw(st.integers(1, 25))
    score = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]) | st.floats(0, 1), min_size=n, max_size=n))
    positive = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any))
    return np.array(positive), np.array(score)


def f1_at(sample: Sample, threshold: float) -> float:
    return f1_score(sample[0], sample[1] >= threshold)


def chosen(sample: Sample, least_recall: float = 0.0) -> float:
    threshold = best_threshold(*sample, least_recall)
    assert threshold is not None
    return threshold


@settings(max_examples=100, deadline=None)
@given(samples(), st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_no_threshold_is_better(sample: Sample, least_recall: float) -> None:
    threshold = chosen(sample, least_recall)
    enough = [t for t in [*sample[1], 0.0] if recall_score(sample[0], sample[1] >= t) >= least_recall]
    assert recall_score(sample[0], sample[1] >= threshold) >= least_recall
    assert f1_at(sample, threshold) == pytest.approx(max(f1_at(sample, t) for t in enough))
    assert 0 <= threshold <= 1


@settings(max_examples=50, deadline=None)
@given(samples())
def test_another_scale_gives_as_good_a_threshold(sample: Sample) -> None:
    positive, score = sample
    ranks = np.unique(score, return_inverse=True)[1].ravel()
    squeezed = (ranks + 1) / (ranks.max() + 2)  # the same order
    assert f1_at((positive, squeezed), chosen((positive, squeezed))) == pytest.approx(f1_at(sample, chosen(sample)))


def test_it_lies_half_way_and_of_equals_nearest_to_a_half() -> None:
    assert chosen((np.array([True, True, False]), np.array([0.9, 0.8, 0.2]))) == pytest.approx(0.5)
    # Above 0.9: precision 1, recall 1/2, F1 2/3; above 0.05: precision 1/2, recall 1, F1 2/3.
    tied = (np.array([True, False, False, True]), np.array([0.9, 0.7, 0.6, 0.1]))
    assert chosen(tied) == pytest.approx(0.8)


def test_neighbouring_scores_are_told_apart() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert low < chosen((np.array([True, False]), np.array([high, low]))) <= high


def test_without_positive_items_there_is_none() -> None:
    assert best_threshold(np.array([False, False]), np.array([0.1, 0.9])) is None
