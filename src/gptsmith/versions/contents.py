"""What belongs to the versions of a config, and what of it has changed since it was last recorded here."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from gptsmith.files import sha256_of, write_text

# Beside the records that it tells about: whoever deletes `.snakemake` deletes both.
STATE = Path(".snakemake/versions.json")


@dataclass(frozen=True)
class RunContents:
    dataset: str
    seeds: list[int]


@dataclass(frozen=True)
class Contents:
    """What one config makes. Paths start at the project's folder."""

    name: str
    units: list[str]
    """Folders and files with a pointer file each; those that are not there are left out."""
    datasets: list[str]
    models: list[str]
    runs: dict[str, RunContents]

    @property
    def results(self) -> Path:
        return Path("results", self.name)

    @property
    def metrics(self) -> str:
        """Small enough for git itself."""
        return (self.results / "metrics.json").as_posix()

    @property
    def records(self) -> str:
        return (self.results / "snakemake.json").as_posix()


def is_versioned(project: Path) -> bool:
    """Whether versions can be kept here: the top of a git repository (or a worktree), with DVC's settings."""
    return (project / ".git").exists() and (project / ".dvc" / "config").is_file()


def parse_contents(text: str) -> Contents:
    """From JSON."""
    return TypeAdapter(Contents).validate_json(text)


class Seen(NamedTuple):
    """A file as it was when its content was last read."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class State:
    """What this working copy remembers: files that are recorded, and the records that were put in place."""

    files: dict[str, Seen]
    records: dict[str, str]


def read_state(project: Path) -> State:
    """An empty state where there is none, or none that can be read: then everything counts as changed."""
    try:
        state = json.loads((project / STATE).read_text(encoding="utf-8"))
        return State({path: Seen(*seen) for path, seen in state["files"].items()}, state["records"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State({}, {})


def write_state(project: Path, state: State) -> None:
    write_text(project / STATE, json.dumps({"files": state.files, "records": state.records}))


def files_of(project: Path, contents: Contents) -> list[str]:
    """All files of the units, and the metrics."""
    found = []
    for unit in [*contents.units, contents.metrics]:
        if (project / unit).is_dir():
            for folder, _, names in os.walk(project / unit):
                found += [(Path(folder) / name).relative_to(project).as_posix() for name in names]
        elif (project / unit).is_file():
            found.append(unit)
    return sorted(file for file in found if not file.endswith(".partial"))


def has_changed(project: Path, contents: Contents) -> bool:
    """Whether a file of the units came, went, or has another size or date than when it was recorded."""
    known, files = read_state(project).files, files_of(project, contents)
    if any(file not in known or not _as_seen(project / file, known[file]) for file in files):
        return True
    gone = known.keys() - set(files)
    return any(is_within(file, contents.units) for file in gone)


def is_within(file: str, units: Iterable[str]) -> bool:
    return any(file == unit or file.startswith(f"{unit}/") for unit in units)


def content_of_files(project: Path, files: Iterable[str], known: Mapping[str, Seen]) -> dict[str, Seen]:
    """The content of files; those that are as they were seen are not read again."""
    contents = {}
    for file in files:
        path = project / file
        if file not in known or not _as_seen(path, known[file]):
            status = path.stat()
            contents[file] = Seen(status.st_size, status.st_mtime_ns, sha256_of(path))
        else:
            contents[file] = known[file]
    return contents


def _as_seen(path: Path, seen: Seen) -> bool:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns)
