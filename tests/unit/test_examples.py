"""From token sequences to batches: what is read, what is a target, and in which company."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.errors import UserError
from gptsmith.tokenizer.tokens import Tokens
from gptsmith.training.examples import (
    IGNORED,
    ClassificationExamples,
    LanguageExamples,
    batches_by_length,
    common_beginning,
    epoch_batches,
    sliding_windows,
)
from gptsmith.training.tasks import classification_examples, instruction_examples, pretraining_windows

END = 99  # end-of-text


def tokens(rows: list[list[int]], labels: list[int] | None = None, prompt_lengths: list[int] | None = None) -> Tokens:
    return Tokens(
        path=Path("tokens.parquet"),
        tokenizer="tiny",
        tokenizer_hash="",
        label_names=None if labels is None else ["ham", "spam"],
        ids=np.arange(len(rows)),
        values=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)]),
        labels=None if labels is None else np.array(labels, dtype=np.int32),
        prompt_lengths=None if prompt_lengths is None else np.array(prompt_lengths, dtype=np.int32),
    )


def as_lists(arrays: list[np.ndarray]) -> list[list[int]]:
    return [array.tolist() for array in arrays]


# ---- sliding windows -----------------------------------------------------------------------------

# A token's id is its place in the stream.
streams = st.integers(0, 60).map(np.arange)
sizes = st.integers(1, 14)


@settings(derandomize=True, deadline=None)
@given(streams, sizes)
def test_without_overlap_every_token_but_the_first_is_a_target_once(stream: np.ndarray, window: int) -> None:
    examples = sliding_windows(stream, window, window, END)
    assert [token for ids in examples.input_ids for token in ids[:-1]] == stream[:-1].tolist()
    assert [token for ids in examples.input_ids for token in ids[1:]] == stream[1:].tolist()


@settings(derandomize=True, deadline=None)
@given(streams, sizes, sizes)
def test_with_overlap_all_is_covered_and_nothing_repeated_whole(stream: np.ndarray, window: int, stride: int) -> None:
    stride = min(stride, window)
    windows = as_lists(sliding_windows(stream, window, stride, END).input_ids)
    assert {token for ids in windows for token in ids[1:]} == set(stream[1:].tolist())
    for index, ids in enumerate(windows):
        assert ids == list(range(index * stride, index * stride + len(ids)))  # whole, and `stride` after the last
    assert all(len(ids) == window + 1 for ids in windows[:-1])
    assert all(len(ids) >= 2 for ids in windows)
    # Each reaches further than the one before; the last to the end of the stream.
    ends = [ids[-1] for ids in windows]
    assert ends == sorted(set(ends))
    assert ends[-1:] == stream[1:][-1:].tolist()


@settings(derandomize=True, deadline=None)
@given(streams, sizes, sizes)
def test_no_window_is_longer_than_asked_for(stream: np.ndarray, window: int, stride: int) -> None:
    examples = sliding_windows(stream, window, stride, END)
    assert (examples.lengths <= window).all()
    assert (examples.lengths >= 1).all()


def test_texts_are_joined_with_end_of_text_between_them() -> None:
    files = [tokens([[1, 2], []]), tokens([[3]])]
    assert as_lists(pretraining_windows(files, 3, 3, END).input_ids) == [[1, 2, END, END], [END, 3, END]]
    assert pretraining_windows([tokens([])], 3, 3, END).input_ids == []


# ---- batches -------------------------------------------------------------------------------------

lengths = st.lists(st.integers(1, 40), max_size=300).map(lambda values: np.array(values, dtype=np.int64))


@settings(derandomize=True, deadline=None)
@given(lengths, st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_has_every_example_once_in_batches_of_the_size(
    lengths: np.ndarray, batch_size: int, epoch: int
) -> None:
    for batches in (epoch_batches(lengths, batch_size, 1, epoch), batches_by_length(lengths, batch_size)):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        rest = len(lengths) % batch_size
        wanted = [batch_size] * (len(lengths) // batch_size) + [rest] * (rest > 0)
        assert sorted(map(len, batches), reverse=True) == wanted


def test_the_order_is_decided_by_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 700)
    orders = {
        (seed, epoch): [batch.tolist() for batch in epoch_batches(lengths, 8, seed, epoch)]
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert orders[1, 0] == [batch.tolist() for batch in epoch_batches(lengths, 8, 1, 0)]
    assert len({str(order) for order in orders.values()}) == 4
    # Not only the batches' order: an example meets others in every epoch.
    first, second = ({frozenset(batch) for batch in orders[1, epoch]} for epoch in (0, 1))
    assert len(first & second) < 5


def test_a_batch_has_similar_lengths_and_batches_come_in_any_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 4000)
    batches = epoch_batches(lengths, 8, seed=1, epoch=0)
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum()
    # Within what was sorted together.
    longest = [lengths[batch].max() for batch in epoch_batches(lengths[:400], 8, seed=1, epoch=0)]
    assert abs(np.corrcoef(longest, np.arange(50))[0, 1]) < 0.5
    # For evaluation there is no other order than by length.
    by_length = np.concatenate(batches_by_length(lengths, 8))
    assert (np.diff(lengths[by_length]) >= 0).all()


def test_a_classification_batch() -> None:
    texts = [np.array(ids, dtype=np.int32) for ids in ([1, 2, 3], [4], [5, 6])]
    examples = ClassificationExamples(texts, np.array([2, 0, 1], dtype=np.int32), END)
    assert examples.lengths.tolist() == [3, 1, 2]
    batch = examples.batch([2, 1])
    assert batch.input_ids.tolist() == [[5, 6], [4, END]]
    assert batch.lengths.tolist() == [2, 1]
    assert batch.targets.tolist() == [1, 0]
    assert batch.n_targets == 2
    assert {batch.input_ids.dtype, batch.lengths.dtype, batch.targets.dtype} == {torch.int64}


def test_a_language_batch_predicts_each_next_token_from_the_first_target_on() -> None:
    texts = [np.array(ids, dtype=np.int32) for ids in ([1, 2, 3, 4], [5, 6], [7, 8, 9])]
    examples = LanguageExamples(texts, np.array([2, 1, 2]), END)
    assert examples.lengths.tolist() == [3, 1, 2]
    batch = examples.batch([0, 1, 2])
    assert batch.input_ids.tolist() == [[1, 2, 3], [5, END, END], [7, 8, END]]
    assert batch.targets.tolist() == [[IGNORED, 3, 4], [6, IGNORED, IGNORED], [IGNORED, 9, IGNORED]]
    assert batch.lengths.tolist() == [3, 1, 2]
    assert batch.n_targets == 4


# ---- from token files ----------------------------------------------------------------------------


def test_texts_to_classify_are_cut_and_never_empty() -> None:
    examples = classification_examples(tokens([[1, 2, 3, 4], [], [5]], labels=[0, 1, 0]), 2, END)
    assert as_lists(examples.input_ids) == [[1, 2], [END], [5]]
    assert examples.batch([1]).targets.tolist() == [1]


@pytest.mark.parametrize(
    ("loss_on", "targets"),
    [
        ("response", [[IGNORED, IGNORED, 3, 4, END], [IGNORED, END, IGNORED, IGNORED, IGNORED]]),
        ("all", [[1, 2, 3, 4, END], [8, END, IGNORED, IGNORED, IGNORED]]),
    ],
)
def test_an_instruction_is_learned_from_its_response_and_end_of_text(
    loss_on: Literal["response", "all"], targets: list[list[int]]
) -> None:
    entries = tokens([[0, 1, 2, 3, 4], [7, 8]], prompt_lengths=[3, 2])
    batch = instruction_examples(entries, 10, END, loss_on).batch([0, 1])
    assert batch.input_ids.tolist() == [[0, 1, 2, 3, 4], [7, 8, END, END, END]]
    assert batch.targets.tolist() == targets
    assert batch.n_targets == sum(target != IGNORED for row in targets for target in row)


def test_no_more_than_max_length_tokens_of_an_instruction_are_read() -> None:
    """The token after the last one read is still a target."""
    entries = tokens([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], prompt_lengths=[1, 3, 4])
    examples = instruction_examples(entries, 3, END, "response")
    # The third prompt leaves nothing to learn.
    assert as_lists(examples.input_ids) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert examples.lengths.tolist() == [3, 3]
    assert examples.batch([0, 1]).targets.tolist() == [[1, 2, 3], [IGNORED, IGNORED, 7]]


def test_prompts_that_are_all_too_long_are_an_error_and_no_entries_are_not() -> None:
    with pytest.raises(UserError, match=r"tokens\.parquet: every prompt is longer than max_length \(3 tokens\)"):
        instruction_examples(tokens([[1, 2, 3, 4, 5]], prompt_lengths=[4]), 3, END, "response")
    assert len(instruction_examples(tokens([], prompt_lengths=[]), 3, END, "response").lengths) == 0


@pytest.mark.parametrize(
    ("sequences", "n_alike"),
    [
        ([[1, 2, 3]], 3),
        ([[1, 2, 3], [1, 2]], 2),
        ([[2, 1], [1, 2]], 0),
        ([[1, 5, 3], [1, 2], [1, 5, 4]], 1),
        ([[1, 2], [1, 2], [1, 2]], 2),
        ([[], [1]], 0),
    ],
)
def test_the_common_beginning(sequences: list[list[int]], n_alike: int) -> None:
    assert common_beginning(sequences) == n_alike
