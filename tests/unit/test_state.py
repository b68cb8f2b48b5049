"""A training that was broken off ends as it would have, and states that cannot be used are not."""

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from several_processes import CASES, CPU, Case, setup_of, trained, trained_in_parts

from gptsmith.files import write_text
from gptsmith.training import state
from gptsmith.training.course import State
from gptsmith.training.loop import train
from gptsmith.training.state import KEPT, Saving, States, states_of

CASE = CASES["language"]
N_STEPS = 9
OFTEN = 0.0


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is saved after each, however long that takes."""
    monkeypatch.setattr(state, "SHARE_OF_TIME", math.inf)


def saving(folder: Path, seconds: float = OFTEN, **limits: Any) -> Saving:
    return Saving(folder / "state", code="1", seconds=seconds, **limits)


def states(folder: Path) -> list[Path]:
    return sorted((folder / "state").glob("*/*.safetensors"))


def break_off(kept: States, after: int, case: Case = CASE) -> None:
    """Train as far as `after` steps, without a chance to say anything at the end."""
    setup, settings = setup_of(case)
    saved = kept.save

    def save_and_die(what: State) -> bool:
        if what[1]["step"] > after:
            raise SystemExit
        return saved(what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "save", save_and_die)
        with pytest.raises(SystemExit):
            train(setup, settings, kept)


# ---- the same end --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.sharding == "none"])
def test_told_to_stop_it_goes_on_to_the_same_end(name: str, tmp_path: Path) -> None:
    """Calls of the loss are validations too: also there it stops, and begins the validation again."""
    expected, found = trained(CASES[name]), trained_in_parts(CASES[name], tmp_path, [1, 7, 4])
    assert (expected.pop("resumed_at"), len(found.pop("resumed_at"))) == ([], 3)
    assert found["weights"] == expected["weights"]
    assert found["history"] == [pytest.approx(row, rel=1e-9) for row in expected["history"]]


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("after", range(N_STEPS - 1))
def test_killed_it_goes_on_to_the_same_end(after: int, tmp_path: Path) -> None:
    expected = trained(CASE)
    break_off(states_of(saving(tmp_path), CPU), after)
    found = trained(CASE, states_of(saving(tmp_path), CPU))
    assert found["resumed_at"] == [after]
    assert found["weights"] == expected["weights"]


@pytest.mark.usefixtures("every_step")
def test_what_patience_has_counted_is_kept(tmp_path: Path) -> None:
    case = replace(CASES["early end"], settings={"patience": 2, "epochs": 40, "evaluations": 40})
    expected = trained(case)
    kept = states_of(saving(tmp_path), CPU)
    break_off(kept, expected["history"][-1][0] - 1, case)
    state = kept.newest()
    assert state is not None
    assert state[1]["evaluations_since"] == 1
    found = trained(case, kept)
    assert (found["history"][-1][0], found["weights"]) == (expected["history"][-1][0], expected["weights"])


@pytest.mark.usefixtures("every_step")
def test_seconds_and_operations_are_those_of_all_parts(tmp_path: Path) -> None:
    setup, settings = setup_of(CASE)
    break_off(states_of(saving(tmp_path), CPU), 5)
    kept = states_of(saving(tmp_path), CPU)
    before = kept.newest()
    assert before is not None
    seconds = [row.seconds for row in train(setup, settings, kept).history]
    assert seconds == sorted(seconds)
    assert seconds[-1] > before[1]["seconds"] > 0


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    setup, settings = setup_of(CASE)

    def interrupt_twice(model: Any, batch: Any) -> Any:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1.1)
        raise AssertionError("still there")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(replace(setup, objective=interrupt_twice), settings, states_of(saving(tmp_path, 1e9), CPU))
    assert states(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is before


# ---- states that cannot be used ------------------------------------------------------------------


def cut(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("damage", [cut, flip, empty])
@pytest.mark.parametrize("damaged", [1, KEPT])
def test_a_damaged_state_is_noticed(
    damage: Callable[[Path], None], damaged: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before it is used, or none."""
    break_off(states_of(saving(tmp_path), CPU), 6)
    files = states(tmp_path)
    assert len(files) == KEPT
    for path in files[-damaged:]:
        damage(path)
    found = trained(CASE, states_of(saving(tmp_path), CPU))
    assert found["resumed_at"] == ([5] if damaged == 1 else [])
    assert capsys.readouterr().err.count("damaged, so the state before it is taken") == damaged
    assert found["weights"] == trained(CASE)["weights"]


@pytest.mark.usefixtures("every_step")
def test_a_damaged_state_takes_no_place_of_a_good_one(tmp_path: Path) -> None:
    break_off(states_of(saving(tmp_path), CPU), 6)
    for path in states(tmp_path):
        flip(path)
    break_off(states_of(saving(tmp_path), CPU), 2)
    assert trained(CASE, states_of(saving(tmp_path), CPU))["resumed_at"] == [2]


@pytest.mark.usefixtures("every_step")
def test_another_training_begins_afresh(tmp_path: Path) -> None:
    settings = {"settings": {"rate": 1}, "seed": 1, "inputs": ["ab"]}
    own = states_of(saving(tmp_path), CPU, **settings)
    break_off(own, 3)
    assert states_of(saving(tmp_path), CPU, **settings).newest() is not None
    for other in ({"settings": {"rate": 2}}, {"seed": 2}, {"inputs": ["ac"]}):
        assert states_of(saving(tmp_path), CPU, **settings | other).newest() is None
    assert states_of(replace(saving(tmp_path), code="2"), CPU, **settings).newest() is None
    assert states_of(saving(tmp_path), replace(CPU, precision="bf16"), **settings).newest() is None


@pytest.mark.usefixtures("every_step")
def test_a_process_that_trains_the_same_does_no_harm(tmp_path: Path) -> None:
    """One starts while the other is at work, which then removes its states."""
    first, second = (states_of(saving(tmp_path), CPU) for _ in range(2))
    break_off(first, 4)
    reading = second.newest
    with pytest.MonkeyPatch.context() as patch:

        def read_after_removal() -> State | None:
            whole = reading()
            first.remove()
            return whole

        patch.setattr(second, "newest", read_after_removal)
        found = trained(CASE, second)
    assert found["resumed_at"] == [4]
    assert found["weights"] == trained(CASE)["weights"]


@pytest.mark.usefixtures("every_step")
def test_a_state_that_vanishes_while_it_is_looked_at_does_not_count(tmp_path: Path) -> None:
    kept = states_of(saving(tmp_path), CPU)
    break_off(kept, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            States, "_files", lambda self: [*states(tmp_path), self.folder / "step-000000009-0-ab.safetensors"]
        )
        newest = kept.newest()
    assert newest is not None
    assert newest[1]["step"] == 4


# ---- room ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("every_step")
def test_a_full_disk_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def no_room(_tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "save_file", no_room)
        found = trained(CASE, states_of(saving(tmp_path), CPU))
    assert found["weights"] == trained(CASE)["weights"]
    assert "could not be saved and it goes on without: [Errno 28] No space left on device" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_states_larger_than_their_room_are_not_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(CASE, states_of(saving(tmp_path, limit_bytes=1e4), CPU))
    assert capsys.readouterr().err.count("are more than execution.state_gb: none is saved") == 1
    assert states(tmp_path) == []


def test_old_states_are_cleared(tmp_path: Path) -> None:
    """By age, and the oldest of too many; never the training's own, nor for room those of today."""
    own = states_of(saving(tmp_path), CPU).folder
    today, yesterday, last_week, last_month = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)
    ages = {today: 0.5, yesterday: 1.5, last_week: 7, last_month: 31, own.name: 40, "not a state": 50}
    for name, days in ages.items():
        folder = tmp_path / "state" / name
        write_text(folder / "step-1-0-ab.safetensors", "x" * 1000)
        then = time.time() - days * 86400
        os.utime(folder, (then, then))

    def left() -> set[str]:
        return {path.name for path in (tmp_path / "state").iterdir()}

    states_of(saving(tmp_path), CPU)
    assert left() == {today, yesterday, last_week, own.name, "not a state"}
    states_of(saving(tmp_path, limit_bytes=2000), CPU)
    assert left() == {today, yesterday, own.name, "not a state"}
    states_of(saving(tmp_path, limit_bytes=1), CPU)
    assert left() == {today, own.name, "not a state"}


def test_what_a_killed_process_was_writing_is_cleared(tmp_path: Path) -> None:
    folder = states_of(saving(tmp_path), CPU).folder
    for name, age in {"old": 2 * state.ABANDONED_SECONDS, "new": 1}.items():
        write_text(folder / f"{name}{state.PARTIAL}", "half a state")
        os.utime(folder / f"{name}{state.PARTIAL}", (time.time() - age,) * 2)
    states_of(saving(tmp_path), CPU)
    assert [path.name for path in folder.iterdir()] == [f"new{state.PARTIAL}"]


def test_success_leaves_nothing(tmp_path: Path) -> None:
    kept = states_of(saving(tmp_path), CPU)
    trained(CASE, kept)
    kept.remove()
    assert list((tmp_path / "state").iterdir()) == []
