"""Measure the tasks that gptsmith is for, side by side with what else there is for them.

`make bench` builds the environment and runs `python -m benchmarks.run [--quick | --full] [--device cuda] [TASK ...]`.
Prints a table and writes results/benchmarks.json; what the tasks print goes to results/benchmarks.log. Exit status 1
when the two sides of a task do not compute the same.
"""

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.agreement import DisagreementError
from benchmarks.row import Row, table_of, write_rows
from benchmarks.settings import Settings

ROOT = Path(__file__).parents[1]
TASKS = {
    "cpu": ("spam", "instructions", "generation", "loading", "tokenization", "startup"),
    "cuda": ("cuda", "spam", "instructions", "generation"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"all when none is named: {', '.join(TASKS['cpu'])}")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help="less of each task; under 10 minutes on 2 cores")
    amount.add_argument("--full", action="store_true", help="all of each task, nothing extrapolated: hours")
    parser.add_argument("--device", choices=TASKS, default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--mirror", type=Path, default=ROOT.parent / "shared" / "mirror", help="folder of the real data"
    )
    arguments = parser.parse_args()
    mirror = arguments.mirror.resolve() if arguments.mirror.is_dir() else None

    # What is not a terminal has no width of its own.
    console, rows, status = Console(width=None if sys.stdout.isatty() else 180), list[Row](), 0
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    log_file = results / "benchmarks.log"
    with tempfile.TemporaryDirectory() as folder, log_file.open("w", 1, "utf-8") as log:
        for name in arguments.tasks or TASKS[arguments.device]:
            settings = Settings(
                arguments.quick, arguments.full, arguments.device, arguments.threads, Path(folder) / name, mirror
            )
            settings.folder.mkdir()
            started = time.monotonic()
            console.print(f"{name} ...")
            try:
                with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                    task_rows = importlib.import_module(f"benchmarks.tasks.{name}").run(settings)
            except DisagreementError as error:
                console.print(f"[red]{error}")
                status = 1
                continue
            rows += task_rows
            write_rows(rows, results / "benchmarks.json")
            for row in task_rows:
                console.print(f"  {row.task}, {row.peer}: {row.notes}", highlight=False, soft_wrap=True)
            console.print(f"  {time.monotonic() - started:.0f} s")
    console.print(table_of(rows))
    return status


if __name__ == "__main__":
    sys.exit(main())
