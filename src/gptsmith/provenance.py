"""Where a result comes from: code, settings, inputs, libraries, machine."""

import datetime
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptsmith.files import sha256_of, write_json

# What a run itself writes into git's files (docs/versions.md).
NOT_CODE = (":(exclude)*.dvc", ":(exclude)results")
LIBRARIES = ("gptsmith", "numpy", "pyarrow", "safetensors", "tiktoken", "torch")


@dataclass(frozen=True)
class Stopwatch:
    """When a computation began."""

    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    monotonic: float = field(default_factory=time.monotonic)


def checksums(files: Sequence[Path]) -> dict[str, str]:
    """Path -> SHA-256 of the file."""
    return {str(file): sha256_of(file) for file in files}


def write_provenance(
    path: Path, stopwatch: Stopwatch, *, settings: dict[str, Any], inputs: dict[str, str], **facts: Any
) -> None:
    """Write what is known of a computation that ends now.

    inputs: Checksums of the files it read (`checksums`).
    facts: Added as they are.
    """
    commit, dirty = _git_state()
    record = {
        "git_commit": commit,
        "git_dirty": dirty,
        "settings": settings,
        "inputs": inputs,
        "versions": {library: importlib.metadata.version(library) for library in LIBRARIES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "seconds": round(time.monotonic() - stopwatch.monotonic, 3),
        "started": stopwatch.started.isoformat(timespec="seconds"),
        "peak_memory_mb": round(_peak_memory_bytes() / 2**20, 1),
        **facts,
    }
    write_json(path, record)


def _git_state() -> tuple[str | None, bool | None]:
    """Commit, and whether tracked files that may decide a result differ from it; None outside a repository or
    without git."""
    changed = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", *NOT_CODE]
    commands = (["git", "rev-parse", "HEAD"], changed)
    try:
        commit, changes = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(changes)


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024
