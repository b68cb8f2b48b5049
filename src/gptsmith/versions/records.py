"""Snakemake's records of what each file was made from, as a file that travels with the files.

Without its records a copy of the results would be made again: Snakemake keeps them in `.snakemake/metadata`, a
JSON file for each output, which is not part of a version. `export_records` gathers them; `install_records` puts
them back. A record is put back only for a file that has the very content it was written for, so whatever was
checked out, copied or computed in between, no file passes for something that it is not.
"""

import base64
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from gptsmith.files import read_json, sha256_of, write_text
from gptsmith.versions.contents import Seen, State, content_of_files, read_state, write_state

METADATA, INCOMPLETE = Path(".snakemake/metadata"), Path(".snakemake/incomplete")


def export_records(project: Path, files: dict[str, Seen], target: str) -> None:
    """Write {file: {sha256, record}} for the files that Snakemake has a record of."""
    records = {}
    for file, seen in files.items():
        path = project / METADATA / record_name(project, file)
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            record = json.loads(path.read_text(encoding="utf-8"))
            # The command may hold a password, as in the URL of a mirror, and no decision depends on it.
            records[file] = {"sha256": seen.sha256, "record": record | {"shellcmd": None}}
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
    present = content_of_files(project, filter(lambda file: (project / file).is_file(), candidates), state.files)
    for file, seen in present.items():
        fitting = [entry["record"] for entry in candidates[file] if entry["sha256"] == seen.sha256]
        if fitting:
            _install(project, file, max(fitting, key=lambda record: record["endtime"] or 0))
    write_state(project, State(state.files, hashes))


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
