"""The parts of benchmarks/ that measure and count; no test says how long anything takes."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("greenlet", reason="greenlet, which make bench needs, is not installed")

from benchmarks.floors import fine_tuning_floor, generation_floor, trunk_flops
from benchmarks.machine import Machine
from benchmarks.row import Row, write_rows
from benchmarks.turns import EVALUATION, SECONDS_A_TURN, TRAINING, Side, Timing, take_turns, whole_seconds
from gptsmith.config.architecture import Architecture
from gptsmith.training.examples import common_beginning

ARCHITECTURE = Architecture(vocab_size=100, context_length=32, d_model=8, n_layers=2, n_heads=2)


class Clock:
    """Stands still until something takes its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sides_take_turns_at_training_batches_and_their_batches_are_timed() -> None:
    clock, log = Clock(), []

    def work(name: str, seconds: float, side: Side) -> None:
        for step in range(4):
            side.begin(TRAINING, size=step)
            log.append(name)
            clock.now += seconds
        side.begin(EVALUATION, size=9)
        log.append(name.upper())
        clock.now += 1
        side.end()

    half, whole = SECONDS_A_TURN / 2, SECONDS_A_TURN
    timings = take_turns(
        {"a": lambda side: work("a", half, side), "b": lambda side: work("b", whole, side)}, np.inf, clock
    )
    assert "".join(log) == "aabaaAbbbB"
    assert timings["a"] == [*[Timing(TRAINING, step, half) for step in range(4)], Timing(EVALUATION, 9, 1)]
    assert timings["b"] == [*[Timing(TRAINING, step, whole) for step in range(4)], Timing(EVALUATION, 9, 1)]


def test_a_side_ends_when_its_time_is_up_and_cleans_up() -> None:
    clock, cleaned = Clock(), []

    def endless(side: Side) -> None:
        try:
            while True:
                side.begin(TRAINING, 1)
                clock.now += SECONDS_A_TURN
        finally:
            cleaned.append(True)

    timings = take_turns({"endless": endless}, 3 * SECONDS_A_TURN, clock)
    assert len(timings["endless"]) == 3
    assert cleaned == [True]


def test_a_batch_of_which_nothing_was_made_is_not_counted() -> None:
    def work(side: Side) -> None:
        side.begin(EVALUATION, 1)
        side.begin(EVALUATION, 2)
        side.drop()

    assert [timing.size for timing in take_turns({"side": work}, np.inf)["side"]] == [1]


def test_a_mistake_in_a_side_is_not_hidden() -> None:
    def work(side: Side) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        take_turns({"side": work}, np.inf)


def test_all_batches_run_are_added_up() -> None:
    timings = [Timing(TRAINING, 1, seconds) for seconds in (9.0, 1.0, 2.0)]
    assert whole_seconds(timings, TRAINING, [1, 1, 1]) == 12


def test_larger_batches_are_extrapolated_along_a_line_without_the_first_and_strange_ones() -> None:
    timings = [Timing(TRAINING, size, 2 + 0.1 * size) for size in (10, 20, 30, 40, 50)]
    strange = [Timing(TRAINING, 10, 99), Timing(TRAINING, 30, 99)]
    sizes = [10, 100] * 10
    assert whole_seconds([*strange, *timings], TRAINING, sizes) == pytest.approx(20 * 2 + 0.1 * sum(sizes))
    timings.append(Timing(TRAINING, 40, 60))
    assert whole_seconds([*strange, *timings], TRAINING, sizes) == pytest.approx(20 * 2 + 0.1 * sum(sizes), rel=0.3)


def test_batches_of_one_size_take_the_median() -> None:
    timings = [Timing(EVALUATION, 8, seconds) for seconds in (50, 50, 1, 3, 100)]
    assert whole_seconds(timings, EVALUATION, [8] * 10) == 30
    with pytest.raises(ValueError, match="no training batch"):
        whole_seconds(timings, TRAINING, [8])


def test_rows_are_written_with_their_ratio(tmp_path: Path) -> None:
    write_rows([Row("task", 2.0, "peer", 5.0, None, 1.5, extrapolated=True)], tmp_path / "rows.json")
    (written,) = json.loads((tmp_path / "rows.json").read_text())
    assert written == {
        "task": "task",
        "ours_seconds": 2.0,
        "peer": "peer",
        "peer_seconds": 5.0,
        "ratio": 2.5,
        "floor_seconds": None,
        "goal": 1.5,
        "extrapolated": True,
        "notes": "",
    }


def test_a_training_step_costs_six_operations_a_weight_and_token() -> None:
    """Kaplan et al. (2020), section 2.1; attention's scores come on top."""
    machine, tokens = Machine(flops=1.0, bandwidth=np.inf), 1
    weights = 2 * (4 * 8 * 8 + 2 * 8 * 32) + 8 * 100
    attention = 3 * 2 * 4 * 8
    assert fine_tuning_floor(ARCHITECTURE, [np.array([tokens])], tokens, 0, machine) == 6 * weights + attention


def test_a_shared_beginning_is_counted_once() -> None:
    lengths, shared = np.array([7, 9, 12]), 5
    apart = trunk_flops(ARCHITECTURE, lengths, n_blocks=2)
    together = trunk_flops(ARCHITECTURE, lengths, n_blocks=2, shared=shared)
    assert apart - together == 2 * trunk_flops(ARCHITECTURE, np.array([shared]), n_blocks=2)


def test_generation_is_bound_by_memory_or_by_operations() -> None:
    prompts = np.array([4, 6])
    bound_by = [
        generation_floor(ARCHITECTURE, prompts, 5, 0, Machine(flops, bandwidth))
        for flops, bandwidth in ((1e9, np.inf), (np.inf, 1e9), (1e9, 1e9))
    ]
    assert 0 < max(bound_by[:2]) <= bound_by[2] <= sum(bound_by[:2])


def test_common_beginning() -> None:
    assert common_beginning([np.array([1, 2, 3]), np.array([1, 2, 4, 5])]) == 2
    assert common_beginning([np.array([1, 2]), np.array([1, 2, 4])]) == 2
    assert common_beginning([np.array([1]), np.array([2])]) == 0
