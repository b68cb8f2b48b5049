"""A file that has come in part, kept so that the next try, also of another process, goes on where it ends.

Beside the bytes lies a record of which file they are part of: address, size, and what the server calls this
version of it.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json


@dataclass(frozen=True)
class Version:
    """What a server says of a file, by which a later answer is known to be about the same one."""

    validator: str | None = None
    """Strong entity tag or date, as If-Range takes it (RFC 9110, section 13.1.5)."""
    size: int | None = None
    """Bytes of the whole file."""

    def continues(self, earlier: "Version") -> bool:
        """Whether an answer with a part of this file can go on one of `earlier`; it need not repeat everything."""
        return self.validator in (None, earlier.validator) and self.size in (None, earlier.size)


@dataclass(frozen=True)
class Partial:
    """The first bytes of what `url` holds, on their way to `target`."""

    url: str
    """As it may be shown and kept."""
    target: Path
    key: str
    """Stands for the whole URL, which may hold a secret."""

    @property
    def path(self) -> Path:
        return self.target.with_name(f".{self.target.name}.{self.key}.partial")

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".partial.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self) -> Version:
        """Of the file that the bytes are part of; nothing is known of a damaged record."""
        try:
            record = read_json(self.record)
            return Version(validator=record["validator"], size=record["size"])
        except (FileNotFoundError, UserError, TypeError, KeyError):
            return Version()

    def begin(self, version: Version) -> None:
        """Drop what came before: the bytes to come are those of `version`, from the first on."""
        self.path.write_bytes(b"")
        write_json(self.record, {"url": self.url, **asdict(version)})

    def finish(self) -> None:
        """All bytes are there and right: give them their name."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self.record.unlink(missing_ok=True)

    def drop(self) -> None:
        self.record.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def drop_unless_resumable(self) -> None:
        """Nothing tells another process whether the file has changed meanwhile when the server gave no validator."""
        if not self.size() or self.version().validator is None:
            self.drop()


def partial_of(target: Path, url: str, shown: str) -> Partial:
    """The partial file of one address and one target."""
    return Partial(shown, target, hashlib.sha256(url.encode()).hexdigest()[:12])
