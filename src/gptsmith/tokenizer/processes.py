"""A stream of work done by several processes: results in the order of the work, and little of either in memory."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from gptsmith.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting processes takes about as long as working on so many items (of gptsmith.tokenizer.tokenize) oneself.
HEAD_START = 8
# One that a process works on and one that waits for it.
ITEMS_A_PROCESS = 2


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` of each item, in order, computed in `processes` processes once it pays off.

    No more than 2 x `processes` items and results are held. `function`, items and results have to be picklable.
    Close the generator to end the processes. Raises what `function` raises, and UserError when a process dies.
    """
    items = iter(items)
    yield from map(function, islice(items, HEAD_START) if processes > 1 else items)
    for first in items:
        yield from _map_in_processes(function, chain([first], items), processes)


def _map_in_processes(
    function: Callable[[Item], Result], items: Iterator[Item], processes: int
) -> Generator[Result, None, None]:
    # A forked process may hang on a lock that a thread of Arrow's held: so a new interpreter.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(function,))
    try:
        pending = deque(pool.submit(_work, item) for item in islice(items, ITEMS_A_PROCESS * processes))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(_work, item) for item in islice(items, 1))
            yield result
    except BrokenProcessPool as error:
        raise UserError(
            "one of the processes was killed, most likely because the machine ran out of memory: "
            "run again with fewer threads"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


# The function travels to a process once, not with every item, and a pool offers no other place to keep it.
_function: Callable[[Any], Any]


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's processes wait for work forever, even when nobody is left to send any."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(item: Any) -> Any:
    return _function(item)
