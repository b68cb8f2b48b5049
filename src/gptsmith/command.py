"""What every command-line script of the pipeline does alike: arguments, and how it ends in an error."""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gptsmith.errors import UserError
from gptsmith.files import NO_PERMISSION, NO_SPACE
from gptsmith.stale_locks import hold_folder_of_run


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all scripts have; `description` is the script's docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_compute_options(parser: argparse.ArgumentParser) -> None:
    """Options of the scripts that run a model (gptsmith.training.compute)."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where the model runs")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of matrix products")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Options of the scripts that train one."""
    add_compute_options(parser)
    parser.add_argument("--processes", type=int, default=1, help="processes that train together, one a GPU")
    parser.add_argument("--sharding", choices=("none", "full"), default="none", help="of the model, over the processes")
    parser.add_argument("--compile", choices=("auto", "always", "never"), default="auto", help="the model's blocks")
    state = parser.add_argument_group("state", "The training goes on from its saved state if it was broken off.")
    state.add_argument("--state", type=Path, default=Path(".gptsmith/state"), help="folder of the states")
    state.add_argument("--checkpoint-seconds", type=int, default=60, help="time between two states")
    state.add_argument("--state-gb", type=int, default=20, help="room for all states, in units of 10^9 bytes")
    state.add_argument("--state-days", type=int, default=30, help="longest that a state is kept")


def run(main: Callable[[], None]) -> NoReturn:
    """Call `main` and leave the process: 0, 1 after an error, 130 after Ctrl-C.

    What the user can mend ends in `error: ` and one or two lines on standard error. Anything else is
    a bug and shows its traceback.
    """
    # Scripts write into `tee`, where Python would hold lines back.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    held = hold_folder_of_run()  # noqa: F841 (until the process ends)
    try:
        main()
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        message = _plain_words(error)
        trace = traceback.format_exc() if message is None or "--debug" in sys.argv else ""
        if message is None:
            message = (
                f"{type(error).__name__}: {error}\nThis is a bug in gptsmith: please report it with the lines above."
            )
        _leave(message, 1, trace)
    sys.exit(0)


def _plain_words(error: Exception) -> str | None:
    """What to tell the user, or None when the error is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return f"no space left on the disk{_place(error)}: free some, then run again"
    if isinstance(error, OSError) and error.errno in NO_PERMISSION:
        return f"not allowed to read or write{_place(error)}: check the permissions"
    if isinstance(error, FileNotFoundError):
        return f"no such file{_place(error)}"
    # torch raises RuntimeError subclasses and texts of its own when memory runs out.
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "not enough memory: lower training.batch_size or training.micro_batch_size, or take a smaller model"
    return None


def _place(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _leave(message: str, status: int, trace: str = "") -> NoReturn:
    text = f"{trace}error: {message}"
    if (error_file := os.environ.get("TORCHELASTIC_ERROR_FILE")) is not None:
        # One of several processes: who started them says what befell the first (gptsmith.training.launch).
        record = {"message": text, "extraInfo": {"py_callstack": text, "timestamp": int(time.time())}}
        Path(error_file).write_text(json.dumps({"message": record, "time": time.time()}), encoding="utf-8")
    else:
        print(text, file=sys.stderr)
    sys.exit(status)
