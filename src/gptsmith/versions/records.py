"""Snakemake's records of what each file was made from, as a file that travels with the files.

Without its records a copy of the results would be made again: Snakemake keeps them in `.snakemake/metadata`, a
JSON file for each output, which is not part of a version. `export_records` gathers them; `install_records` puts
them back. A record is put back only for a file that has the very content it was written for, so whatever was
checked out, copied or computed in between, no file passes for something that it is not.
"""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptsmith.files import read_json, sha256_of, write_text
from gptsmith.versions.contents import Seen, State, content_of_files, read_state, write_state

METADATA, INCOMPLETE = Path(".snakemake/metadata"), Path(".snakemake/incomplete")


def export_records(project: Path, files: dict[str, Seen], target: str) -> None:
    """Write {output: {sha256, record}} for the files and folders that Snakemake has a record of."""
    records = {}
    for output, sha256 in _checksums(files).items():
        path = project / METADATA / record_name(project, output)
        with contextlib.suppress(OSError, json.JSONDecodeError):  # most folders have none
            record = json.loads(path.read_text(encoding="utf-8"))
            # The command may hold a password, as in the URL of a mirror, and no decision depends on it.
            records[output] = {"sha256": sha256, "record": record | {"shellcmd": None}}
    text = json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path = project / target
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def install_records(project: Path) -> None:
    """Put the records in place that came with a checkout; quick when none did.

    Of several configs' records of the same file, which they share, the newest counts.
    """
    exported = sorted(project.glob("results/*/snakemake.json"))
    hashes = {path.relative_to(project).as_posix(): sha256_of(path) for path in exported}
    state = read_state(project)
    if hashes == state.records:
        return
    candidates: dict[str, list[dict[str, Any]]] = {}
    for path in exported:
        for file, entry in read_json(path).items():
            candidates.setdefault(file, []).append(entry)
    present = content_of_files(project, _files_within(project, candidates), state.files)
    for output, sha256 in _checksums(present).items():
        fitting = [entry["record"] for entry in candidates.get(output, []) if entry["sha256"] == sha256]
        if fitting:
            _install(project, output, max(fitting, key=lambda record: record["endtime"] or 0))
    write_state(project, State(state.files, hashes))


def _checksums(files: Mapping[str, Seen]) -> dict[str, str]:
    """SHA-256 of all that may be an output: each file, and each folder, over the names and sums of the files in it."""
    within: dict[str, list[str]] = {}
    for file, seen in sorted(files.items()):
        for folder in Path(file).parents[:-1]:
            within.setdefault(folder.as_posix(), []).append(f"{seen.sha256} {file}")
    folders = {folder: hashlib.sha256("\n".join(sums).encode()).hexdigest() for folder, sums in within.items()}
    return folders | {file: seen.sha256 for file, seen in files.items()}


def _files_within(project: Path, outputs: Iterable[str]) -> list[str]:
    found = [path for output in outputs for path in (project / output, *(project / output).rglob("*"))]
    return [path.relative_to(project).as_posix() for path in found if path.is_file()]


def _install(project: Path, file: str, record: dict[str, Any]) -> None:
    name = record_name(project, file)
    # Where only the first of the two folders exists, Snakemake takes it for that of an old version.
    for folder in (project / INCOMPLETE, (project / METADATA / name).parent):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(project / METADATA / name, json.dumps(record))
    (project / INCOMPLETE / name).unlink(missing_ok=True)  # left by a job that was killed; the file is whole now


def record_name(project: Path, file: str) -> Path:
    """Where Snakemake keeps the record of an output: base64, in pieces that a file system takes as names."""
    length = os.pathconf(project, "PC_NAME_MAX") - 1
    name = base64.urlsafe_b64encode(file.encode()).decode()
    *folders, last = [name[start : start + length] for start in range(0, len(name), length)]
    return Path(*[f"@{folder}" for folder in folders], last)
