"""The locks on the working folder that a killed Snakemake leaves behind.

Snakemake locks by files, which outlive it. A lock of the operating system does not: while no process holds the one
here, no run of the pipeline is alive in this folder, and files that say otherwise are left over.
"""

import contextlib
import fcntl
from pathlib import Path
from typing import TextIO

RUNNING = Path(".gptsmith", "running")
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")


def hold_folder() -> TextIO | None:
    """Remove Snakemake's locks if they are stale, and hold the folder until the returned file is closed or the
    process ends. Runs hold it together; Snakemake itself sees to it that they do not make the same files.

    None where the file system has no such locks, or nothing can be written: then Snakemake decides as always.
    """
    with contextlib.suppress(OSError):
        RUNNING.parent.mkdir(exist_ok=True)
        file = RUNNING.open("w")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for lock in SNAKEMAKE_LOCKS.glob("*.lock"):
                lock.unlink()
        fcntl.flock(file, fcntl.LOCK_SH)
        return file
    return None
