"""Being asked to stop: by Ctrl-C, by a scheduler that takes the machine away (SIGTERM), by the end of the terminal or
of the connection to it (SIGHUP), or, one of several processes, by the end of what started them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from torch.distributed import is_torchelastic_launched

# One Ctrl-C comes several times: from the terminal to all its processes, and from those to their own.
SAME_REQUEST_SECONDS = 1.0


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether this process was asked to stop since.

    Another Ctrl-C, later than `SAME_REQUEST_SECONDS`, stops it at once, with KeyboardInterrupt.
    """
    requests = list[float]()

    def note(number: int, _frame: FrameType | None) -> None:
        requests.append(time.monotonic())
        if number == signal.SIGINT and requests[-1] - requests[0] > SAME_REQUEST_SECONDS:
            raise KeyboardInterrupt

    # What is ignored, as Ctrl-C by a command in the background or SIGHUP after `nohup`, stays so.
    heeded = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    launcher = os.getppid()
    try:
        yield lambda: bool(requests) or (is_torchelastic_launched() and os.getppid() != launcher)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
