"""What the machine can do: the rates that the floors are computed from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

REPETITIONS = 15


@dataclass(frozen=True)
class Machine:
    """Measured rates."""

    flops: float
    """Floating-point operations a second, of a large matrix multiplication."""
    bandwidth: float
    """Bytes read and written a second, by one vector added to another in place."""


def faster(before: Machine, after: Machine) -> Machine:
    """Of two measurements around a task: a machine that was disturbed during one of them can do more."""
    return Machine(max(before.flops, after.flops), max(before.bandwidth, after.bandwidth))


def measure(device: str, dtype: torch.dtype = torch.float32) -> Machine:
    """Medians over repetitions; some seconds."""
    on_cpu = device == "cpu"
    n = 2048 if on_cpu else 8192
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    multiplying = _seconds(lambda: torch.mm(a, b), device)
    length = (64 if on_cpu else 512) * 2**20
    x, y = torch.zeros(length, device=device), torch.zeros(length, device=device)
    adding = _seconds(lambda: x.add_(y), device)
    return Machine(flops=2 * n**3 / multiplying, bandwidth=3 * x.nbytes / adding)


def clock_of(device: str) -> Callable[[], float]:
    """A clock that first waits for what the device has been asked to do."""
    if device == "cpu":
        return time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def _seconds(work: Callable[[], object], device: str) -> float:
    clock = clock_of(device)
    seconds = []
    work()
    for _ in range(REPETITIONS):
        started = clock()
        work()
        seconds.append(clock() - started)
    return median(seconds)
