"""Scripts of the workflow in processes of their own, which need not import torch and the rest once more."""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = [
    "gptsmith.training.finetuning",
    "pyarrow.parquet",
    "sklearn.feature_extraction.text",
    "torch._dynamo",
    "transformers",
]


def start_script(
    arguments: list[str], folder: Path, printed: Path, before: Callable[[], None] | None = None
) -> BaseProcess:
    """Start a script as `python ARGUMENTS` does in `folder`, after `before`; what it says is in `printed`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    process = context.Process(target=_run, args=(arguments, folder, printed, before))
    process.start()
    return process


def _run(arguments: list[str], folder: Path, printed: Path, before: Callable[[], None] | None) -> None:
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests themselves run under `nohup`
    sys.argv = arguments
    if before is not None:
        before()
    runpy.run_path(arguments[0], run_name="__main__")
