"""Recording, keeping and bringing back versions: DVC does the work, git keeps the pointers."""

import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gptsmith.errors import UserError
from gptsmith.files import sha256_of
from gptsmith.versions.contents import (
    Contents,
    State,
    content_of_files,
    files_of,
    is_versioned,
    is_within,
    read_state,
    write_state,
)
from gptsmith.versions.plots import write_plots
from gptsmith.versions.records import export_records, install_records

if TYPE_CHECKING:
    from dvc.repo import Repo


def track(project: Path, contents: Contents) -> None:
    """Record what is there now: DVC's cache gets the files, the pointer files beside them get their hashes.

    Files that are as they were last time are not read again.
    """
    with _repository(project) as repository:
        write_plots(project, contents)
        state = read_state(project)
        files = content_of_files(project, files_of(project, contents), state.files)
        export_records(project, files, contents.records)
        # Linking the files to the cache would give them new dates, and Snakemake much to compare.
        repository.add([*_present(project, contents), contents.records], relink=False)
    _remember(project, contents, state)


def push(project: Path, contents: Contents, remote: str | None, endpoint: str | None) -> int:
    """Copy what the pointer files name to the remote; returns how many files were not there yet."""
    with _repository(project, remote, endpoint) as repository:
        return repository.push(targets=_pointers(project, contents))


def restore(project: Path, contents: Contents, remote: str | None, endpoint: str | None) -> list[str]:
    """Fetch what the pointer files of this commit name, and put it and Snakemake's records in place.

    Returns the units that were something else before. Raises UserError where that would be lost.
    """
    pointers = _pointers(project, contents)
    if not pointers:
        raise UserError(f"this commit holds no versions of {contents.name}: check out one that does, or run it")
    with _repository(project, remote, endpoint) as repository:
        repository.fetch(targets=pointers)
        with _unrecorded_work_is_named(project):
            changes = repository.checkout(targets=pointers)
        _restore_other_records(repository, project, contents)
    install_records(project)
    _remember(project, contents, read_state(project))
    return [path.rstrip("/") for path in changes["modified"]]


def uncommitted(project: Path, contents: Contents) -> bool:
    """Whether git has yet to be given pointers, metrics or the description of this config."""
    # Without optional locks git leaves its index alone.
    command = ["git", "--no-optional-locks", "status", "--porcelain", "--", "*.dvc", contents.results.as_posix()]
    try:
        result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:  # no git here: then it cannot have been given them here
        return True
    return bool(result.stdout.strip())


@contextlib.contextmanager
def _unrecorded_work_is_named(project: Path) -> Iterator[None]:
    """DVC refuses, before it changes anything, to overwrite files whose content is not in its cache."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        first, *files = str(error).splitlines()
        if "unsaved files" not in first:
            raise
        names = ", ".join(str(Path(file).relative_to(project)) for file in files)
        raise UserError(
            f"not recorded, and restoring would overwrite it: {names}\n"
            "move it away and restore again; or keep it in place of this version: snakemake --cores 1 track"
        ) from error


def _present(project: Path, contents: Contents) -> list[str]:
    return [unit for unit in contents.units if (project / unit).exists()]


def _pointers(project: Path, contents: Contents) -> list[str]:
    """Pointer files of the units and of Snakemake's records."""
    paths = [f"{unit}.dvc" for unit in (*contents.units, contents.records)]
    return [path for path in paths if (project / path).is_file()]


def _restore_other_records(repository: "Repo", project: Path, contents: Contents) -> None:
    """Those of the other configs, which share units with this one; as far as they were pushed."""
    from dvc.exceptions import DvcException

    found = (path.relative_to(project).as_posix() for path in project.glob("results/*/snakemake.json.dvc"))
    if others := sorted(set(found) - {f"{contents.records}.dvc"}):
        with contextlib.suppress(DvcException):
            repository.fetch(targets=others)
        with contextlib.suppress(DvcException):
            repository.checkout(targets=others, allow_missing=True)


def _remember(project: Path, contents: Contents, state: State) -> None:
    """Take what is there now for recorded."""
    others = {file: seen for file, seen in state.files.items() if not is_within(file, contents.units)}
    files = content_of_files(project, files_of(project, contents), state.files)
    exported = sorted(project.glob("results/*/snakemake.json"))
    records = {path.relative_to(project).as_posix(): sha256_of(path) for path in exported}
    write_state(project, State(others | files, records))


@contextlib.contextmanager
def _repository(project: Path, remote: str | None = None, endpoint: str | None = None) -> Iterator["Repo"]:
    """DVC's repository. A second command waits for the first; what goes wrong in it raises UserError.

    The remote is told to DVC here and written nowhere.
    """
    if not is_versioned(project):
        raise UserError(
            "versions need a git repository: run this at the top of a clone, where .git and .dvc/config are"
        )
    try:
        from dvc.config import NoRemoteError  # half a second, and only here
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise UserError(f"versions need DVC, which cannot be imported ({error}): install requirements.txt") from error
    config: dict[str, dict] = {}
    if remote is not None:
        settings = {"url": remote if "://" in remote else str((project / Path(remote).expanduser()).resolve())}
        settings |= {"endpointurl": endpoint} if endpoint else {}
        config = {"core": {"remote": "versions"}, "remote": {"versions": settings}}
    logging.getLogger("dvc").setLevel(logging.WARNING)
    try:
        with Repo(str(project), config=config, _wait_for_lock=True) as repository:
            yield repository
    except NoRemoteError as error:
        raise UserError("no remote: set execution.versions.remote in the config to a folder or a URL") from error
    except (DvcException, OSError) as error:
        raise UserError(f"DVC: {error}") from error
    except Exception as error:
        # What the client of S3 raises has no common base, and it is not always installed.
        if type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore"):
            raise
        raise UserError(f"the remote: {error}") from error
