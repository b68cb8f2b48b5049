"""Work shared out to processes. Starting some takes a second, so each test does so once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptsmith.errors import UserError
from gptsmith.tokenizer import processes
from gptsmith.tokenizer.processes import map_in_order


def square(number: int) -> int:
    return number**2


def process_of(number: int) -> tuple[int, int]:
    # Later items are done sooner, unless somebody waits for the earlier ones.
    time.sleep(0.002 * (10 - number % 10))
    return number, os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise UserError(f"{number} is refused")
    return number


def die_at_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEAD_START", 0)


def test_little_work_and_one_process_are_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(processes, "ProcessPoolExecutor")
    assert list(map_in_order(square, [], processes=2)) == []
    assert list(map_in_order(square, range(processes.HEAD_START), processes=2)) == [
        n**2 for n in range(processes.HEAD_START)
    ]
    assert list(map_in_order(square, range(100), processes=1)) == [n**2 for n in range(100)]


def test_results_are_in_order_and_few_items_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEAD_START", 3)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(60):
            taken += 1
            yield number

    workers = set()
    for expected, (number, process) in enumerate(map_in_order(process_of, items(), processes=2)):
        assert number == expected
        assert taken - number <= 1 + 2 * processes.ITEMS_A_PROCESS
        assert (process == os.getpid()) == (number < 3)
        workers.add(process)
    assert len(workers) == 1 + 2


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize(
    ("function", "message"),
    [(refuse_seven, "^7 is refused$"), (die_at_seven, "one of the processes was killed, most likely .* fewer threads")],
)
def test_an_error_ends_the_work(function: object, message: str) -> None:
    results = []
    with pytest.raises(UserError, match=message):
        results.extend(map_in_order(function, range(1000), processes=2))  # type: ignore[arg-type]
    assert results == list(range(len(results)))


SCRIPT = """
import time
from contextlib import closing
from gptsmith.tokenizer import processes
import test_processes

if __name__ == "__main__":
    processes.HEAD_START = 0
    try:
        with closing(processes.map_in_order(test_processes.process_of, iter(int, 1), 2)) as results:
            for n, (_, process) in enumerate(results, start=1):
                print(process, flush=True)
                if n == 40:
                    time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    # Ctrl-C reaches all processes of a group, a kill only the one.
    first = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background shells ignore it
    )
    assert first.stdout is not None
    workers = {int(first.stdout.readline()) for _ in range(40)}
    assert len(workers) == 2
    time.sleep(0.3)  # now they wait for work
    if number is signal.SIGINT:
        os.killpg(first.pid, number)
    else:
        first.kill()
    output, errors = first.communicate(timeout=60)  # returns when all have closed their ends, so when all are gone
    assert "Traceback" not in errors
    assert output.endswith("interrupted\n") == (number is signal.SIGINT)
