"""Starting a script in several processes, as `torchrun` does, with one error message at the end."""

import logging
import math
import signal
import sys
from typing import NoReturn

from torch.distributed import is_torchelastic_launched
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gptsmith.errors import UserError
from gptsmith.scheduling.gpus import claim_gpus

# What the processes get to save their state, once they were told to stop: less than the two minutes that
# profiles/slurm asks for.
SECONDS_TO_SAVE = 110


def in_processes(n: int, device: str) -> None:
    """Go on where `n` is 1, or in one of the `n` processes; otherwise run this very command in `n` processes, with a
    GPU each unless `device` has none, wait for their end, and leave with it."""
    if n > 1 and not is_torchelastic_launched():
        if device in ("auto", "cuda"):
            claim_gpus(n)
        _run(n)


def _run(n: int) -> NoReturn:
    # Its warnings tell how processes end, which `_raise` says better.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n,
        run_id="gptsmith",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=SECONDS_TO_SAVE,
    )
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except ChildFailedError as error:
        _explain(min(error.failures.values(), key=_order))
        sys.exit(1)
    except SignalException as caught:
        if caught.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + caught.sigval)
    sys.exit(0)


def _order(failure: ProcessFailure) -> tuple[bool, float]:
    """The cause sorts before its consequences: one process was killed, or failed first, and the others lost it.

    SIGTERM is what the processes that were still running got from the launcher.
    """
    killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
    return not killed, failure.error_file_data.get("time", math.inf)


def _explain(failure: ProcessFailure) -> None:
    message = failure.error_file_data["message"]
    if isinstance(message, dict):  # written by gptsmith.command
        print(message["message"], file=sys.stderr)
        return
    raise UserError(
        f"process {failure.local_rank} of the training ended with status {failure.exitcode} and no word"
        + (": not enough memory?" if failure.exitcode == -signal.SIGKILL else "")
    )
