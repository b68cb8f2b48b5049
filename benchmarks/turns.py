"""Training loops that take turns in one thread, and what their batches cost.

Each side is a real training loop, run from start to end in a greenlet of its own, so all sides share one thread and
one pool of computing threads. Its data announce every batch to its `Side`, which takes the time there and lets the
others go on when the turn is over. So no side's code is touched, and all see the same weather on the machine.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from greenlet import GreenletExit, greenlet
from scipy.stats import theilslopes

SECONDS_A_TURN = 4.0

# First batches of each kind that are not counted: memory is taken, threads start.
WARM_UP = 2

ENOUGH_FOR_A_LINE = 5

TRAINING = "training"
EVALUATION = "evaluation"
FEATURES = "features"
"""What the frozen blocks make of a split: once, before the training, so it is always run whole."""


@dataclass(frozen=True)
class Timing:
    """From the moment a batch was there until the next one was."""

    kind: str
    size: int
    """Positions in the batch, padding included."""
    seconds: float


class Side:
    """One of the loops."""

    def __init__(self, work: Callable[["Side"], None], clock: Callable[[], float]) -> None:
        self.timings: list[Timing] = []
        self._clock = clock
        self._loop = greenlet(lambda: work(self))
        self._open: tuple[str, int, float] | None = None
        self._turn_started = 0.0

    def begin(self, kind: str, size: int) -> None:
        """A batch is about to be computed; ends what was begun before.

        Only at training batches others may go on: there every loop is outside `torch.no_grad`, whose state belongs to
        the thread that all share.
        """
        self.end()
        if kind == TRAINING and self._clock() - self._turn_started >= SECONDS_A_TURN:
            assert self._loop.parent is not None
            self._loop.parent.switch()
        self._open = (kind, size, self._clock())

    def end(self) -> None:
        if self._open is not None:
            kind, size, started = self._open
            self.timings.append(Timing(kind, size, self._clock() - started))
            self._open = None

    def drop(self) -> None:
        """Nothing was made of the batch announced last."""
        self._open = None

    def take_turn(self, seconds: float) -> bool:
        """Go on until the turn is over, and end the loop when its training has had `seconds` in all.

        Returns whether there is something left to do.
        """
        self._turn_started = self._clock()
        self._loop.switch()
        if not self._loop.dead and sum(timing.seconds for timing in self.timings if timing.kind == TRAINING) >= seconds:
            self._loop.throw(GreenletExit)
        return not self._loop.dead


def take_turns(
    sides: Mapping[str, Callable[[Side], None]],
    seconds_a_side: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[Timing]]:
    """Run all sides, each to its end or until it has trained for `seconds_a_side`; return their timings by name.

    What comes before the training and between its steps is not limited.
    """
    all_sides = {name: Side(work, clock) for name, work in sides.items()}
    running = list(all_sides.values())
    while running:
        running = [side for side in running if side.take_turn(seconds_a_side)]
    return {name: side.timings for name, side in all_sides.items()}


def count(timings: Sequence[Timing], kind: str) -> int:
    return sum(timing.kind == kind for timing in timings)


def is_whole(timings: Sequence[Timing], kind: str, sizes: Sequence[int]) -> bool:
    """Whether every one of the batches of `sizes` was run."""
    return count(timings, kind) >= len(sizes)


def whole_seconds(timings: Sequence[Timing], kind: str, sizes: Sequence[int]) -> float:
    """Seconds for batches of `sizes`: their sum when all were run, else that of a line through the medians of those
    that were (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968)."""
    measured = [timing for timing in timings if timing.kind == kind]
    if is_whole(timings, kind, sizes):
        return sum(timing.seconds for timing in measured)
    measured = measured[WARM_UP:] or measured
    if not measured:
        raise ValueError(f"no {kind} batch was run: give the sides more time")
    x, y = [timing.size for timing in measured], [timing.seconds for timing in measured]
    # Where they are of one size, or too few to tell, every batch takes the median.
    slope = max(float(theilslopes(y, x).slope), 0.0) if len(set(x)) >= ENOUGH_FOR_A_LINE else 0.0
    intercept = median(y) - slope * median(x)
    return intercept * len(sizes) + slope * sum(sizes)
