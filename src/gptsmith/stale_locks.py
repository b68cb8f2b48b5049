"""The locks on the working folder that a killed Snakemake leaves behind.

Snakemake locks by files, which outlive it. A lock of the operating system does not: while neither a run nor a job of
one is alive in this folder, files that say otherwise are left over.
"""

import contextlib
import fcntl
import platform
from pathlib import Path
from typing import TextIO

RUNNING = Path(".gptsmith", "running")
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")


def hold_folder() -> TextIO | None:
    """Remove Snakemake's locks if they are stale, and hold the folder until the returned file is closed or the
    process ends. Runs hold it together; Snakemake itself sees to it that they do not make the same files.

    None where the file system has no such locks, or nothing can be written: then Snakemake decides as always. It
    also does where the last run was on another machine, because some network disks keep locks to one.
    """
    with contextlib.suppress(OSError):
        RUNNING.parent.mkdir(exist_ok=True)
        file = RUNNING.open("a+")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks = list(SNAKEMAKE_LOCKS.glob("*.lock"))
            file.seek(0)
            if not locks or file.read() == platform.node():
                for lock in locks:
                    lock.unlink()
                file.truncate(0)
                file.write(platform.node())
                file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
        return file
    return None


def hold_folder_of_run() -> TextIO | None:
    """Hold the folder in a job as well: it may outlive its run, and then still writes. None outside a run's folder."""
    with contextlib.suppress(OSError):
        file = RUNNING.open()
        fcntl.flock(file, fcntl.LOCK_SH)
        return file
    return None
