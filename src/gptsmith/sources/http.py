"""Downloading one file over http(s): retried, resumed and verified before it gets its name."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.util import Retry

from gptsmith.errors import UserError
from gptsmith.files import atomic_path, sha256_of
from gptsmith.sources.checksum import check_sha256
from gptsmith.sources.mirror import mirrored

CHUNK_BYTES = 1 << 16
# Worth another try: too many requests, and what a server or a proxy before it says while it is in trouble.
PASSING_TROUBLES = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long a download waits for a server and how often it tries again; times in seconds."""

    attempts: int = 5
    """Times a request is sent, and times a body that breaks off is taken up again."""
    backoff: float = 0.5
    """Wait before a new attempt; doubles each time."""
    longest_wait: int = 60
    """Most that a server's Retry-After is honoured with."""
    connect: float = 10
    """Longest wait for a connection."""
    read: float = 60
    """Longest wait for the next bytes."""


PATIENCE = Patience()


def download(url: str, target: Path, *, sha256: str | None, mirror: str | None, patience: Patience = PATIENCE) -> str:
    """Write what `url` (or its copy in `mirror`) holds to `target` and return where it came from in the end.

    `sha256` is the checksum of the whole file, None when something inside it will be checked instead.
    Raises UserError, with `target` left as it was, when the file cannot be had whole or its checksum differs.
    """
    location = url if mirror is None else mirrored(url, mirror)
    shown = without_credentials(url)
    if mirror is not None:
        shown += f" in the mirror {without_credentials(mirror)}"
    with atomic_path(target) as temporary:
        if isinstance(location, Path):
            shutil.copyfile(location, temporary)
            final = location.resolve().as_uri()
        else:
            with temporary.open("wb") as file, _session(patience) as session:
                try:
                    final = _transfer(session, location, file, patience, shown)
                except requests.RequestException as error:
                    raise UserError(f"{shown}: {_plain_reason(error)}") from error
        if sha256 is not None:
            hint = "; it is a web page" if _is_web_page(temporary) else ""
            check_sha256(sha256_of(temporary), sha256, f"{shown}{hint}")
    # A query may hold a signature that lets its bearer in, and is out of date tomorrow.
    return without_credentials(urlunsplit(urlsplit(final)._replace(query="", fragment="")))


def _session(patience: Patience) -> requests.Session:
    retry = Retry(
        total=patience.attempts - 1,
        backoff_factor=patience.backoff,
        retry_after_max=patience.longest_wait,
        status_forcelist=PASSING_TROUBLES,
        allowed_methods={"GET"},
        raise_on_status=False,
    )
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    # A compressed transfer could neither be measured nor resumed in bytes of the file.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _transfer(session: requests.Session, url: str, file: BinaryIO, patience: Patience, shown: str) -> str:
    """Write the body of `url` to `file`, taking it up again where it broke off; return the final URL.

    Retry handles requests that get no answer or a bad one; here remain the bodies that break off. urllib3
    raises when fewer bytes come than Content-Length says. A server that ignores Range, or whose file has
    changed (If-Range, RFC 9110 section 13.1.5), answers 200 and the file begins anew.
    """
    validator: str | None = None
    reason = ""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.backoff * 2 ** (attempt - 1))
        written = file.tell()
        headers = {"Range": f"bytes={written}-"} if written else {}
        if written and validator:
            headers["If-Range"] = validator
        with session.get(url, headers=headers, stream=True, timeout=(patience.connect, patience.read)) as response:
            continued = response.status_code == 206 and _starts_at(response, written)
            if not continued:
                file.seek(0)
                file.truncate()
            if response.status_code in (206, 416) and not continued:
                reason = "the server did not continue where it was asked to"
                continue
            if not response.ok:
                raise UserError(f"{shown}: HTTP status {_status(response)}")
            validator = _validator(response)
            try:
                with _progress(response, file.tell(), shown) as advance:
                    for chunk in response.iter_content(CHUNK_BYTES):
                        file.write(chunk)
                        advance(len(chunk))
            except requests.RequestException as error:
                reason = _plain_reason(error)
            else:
                return response.url
    raise UserError(f"{shown}: broke off {patience.attempts} times, last after {decimal(file.tell())}: {reason}")


def _status(response: requests.Response) -> str:
    # Not the server's own phrase, which could hold anything.
    return f"{response.status_code} {responses.get(response.status_code, '')}".rstrip()


def _starts_at(response: requests.Response, position: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {position}-")


def _validator(response: requests.Response) -> str | None:
    """What names this version of the file in If-Range, which takes no weak entity tags."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


@contextmanager
def _progress(response: requests.Response, written: int, shown: str) -> Iterator[Callable[[int], None]]:
    """Yield what to call with the number of bytes that came: a bar on a terminal, else a line before and after."""
    length = response.headers.get("Content-Length", "")
    total = written + int(length) if length.isdecimal() else None
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        *columns,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(shown, total=total, completed=written)
        if bar.disable:
            begun = f", from {decimal(written)} on" if written else ""
            print(f"{shown}: {'unknown size' if total is None else decimal(total)}{begun}", file=sys.stderr)
        yield lambda size: bar.advance(task, size)
        if bar.disable:
            print(f"{shown}: done, {decimal(int(bar.tasks[0].completed))}", file=sys.stderr)


def _plain_reason(error: BaseException) -> str:
    """The innermost cause, which is the one that says what happened ("Connection refused")."""
    root = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    reason = getattr(root, "strerror", None) or str(root) or type(root).__name__
    if isinstance(error, requests.exceptions.ProxyError):
        reason = f"the proxy fails: {reason}"
    # A server's words may be among it.
    return "".join(character if character.isprintable() else " " for character in reason)


def without_credentials(url: str) -> str:
    """`url` without a user's name and password, as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html"))
