"""The GPUs of this machine, counted without torch and shared out among jobs that run side by side."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

from gptsmith.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that CUDA will see, as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get(VISIBLE)) is not None:
        names = [name.strip() for name in named.split(",")]
        # CUDA itself stops at the first that is no GPU.
        end = next((n for n, name in enumerate(names) if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name)), len(names))
        return names[:end]
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    command = [program, "-L"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise UserError("nvidia-smi does not answer: mend the driver, or set CUDA_VISIBLE_DEVICES") from error
    return [str(n) for n in range(len(re.findall(r"^GPU ", listed.stdout, re.MULTILINE)))]


def claim_gpus(n: int) -> None:
    """Let this process and those it starts use `n` GPUs that no other such process has; before CUDA is first used.

    Where only `n` are to be seen, as in a job of a cluster, they are taken as they are. Where fewer are free, GPUs
    are shared. A claim is a locked file, which the system releases however the process ends.
    """
    visible = visible_gpus()
    if len(visible) <= n:
        return
    claimed = list(islice(filter(_lock, visible), n))
    shared = [gpu for gpu in visible if gpu not in claimed][: n - len(claimed)]
    os.environ[VISIBLE] = ",".join(claimed + shared)


def _lock(gpu: str) -> bool:
    folder = Path(tempfile.gettempdir()) / f"gptsmith-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / gpu.replace("/", "_"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        # Kept open, and so locked, until the process ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
