"""Writing files so that a name either holds the whole content or does not exist."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptsmith.errors import UserError

# What a disk or folder says that does not take a file: full, over quota, larger than allowed; no permission, read-only.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
# Who writes a file changes it more often than that.
ABANDONED_SECONDS = 3600


@contextlib.contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target`; flush it to disk and rename it when the block succeeds.

    When the block raises, the temporary file is removed and `target` is left as it was; an OSError about the
    disk or its permissions names `target`. What a process that was killed left of `target` is removed.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        # A write that fails names no file, a copy the wrong one, and the temporary one means nothing to anybody.
        if error.errno in NO_SPACE or (error.errno in NO_PERMISSION and _is_temporary(error.filename, target)):
            error.filename = str(target)
        raise


def _remove_abandoned(target: Path) -> None:
    for path in target.parent.iterdir():
        if path.name.startswith(f".{target.name}.") and path.name.endswith(".partial"):
            with contextlib.suppress(FileNotFoundError):  # its writer ended this very moment
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()


def _is_temporary(filename: str | None, target: Path) -> bool:
    return filename is not None and Path(filename).name.startswith(f".{target.name}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(target: Path | str, text: str) -> None:
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON. Raises ValueError for NaN and infinities."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; raises UserError with the line and column where it breaks off."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})") from error
    except (RecursionError, ValueError) as error:  # nested thousands deep, or a number of thousands of digits
        raise UserError(f"{path}: not usable JSON ({error})") from error


def sha256_of(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content, read in constant memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
