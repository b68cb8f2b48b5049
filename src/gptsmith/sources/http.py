"""Downloading one file over http(s): retried, resumed and verified before it gets its name."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from gptsmith.config.limits import LIMITS, Limits
from gptsmith.errors import UserError
from gptsmith.files import atomic_path, sha256_of
from gptsmith.sources.checksum import check_sha256, web_page_hint
from gptsmith.sources.mirror import mirrored
from gptsmith.sources.partial import Partial, Version, partial_of

CHUNK_BYTES = 1 << 16
# Worth another try: too many requests, and what a server or a proxy before it says while it is in trouble.
PASSING_TROUBLES = (429, 500, 502, 503, 504)
PROXY_REMEDY = "check the environment's http_proxy and https_proxy, or name the host in no_proxy"
CERTIFICATE_REMEDY = (
    "where a proxy of your network signs connections anew, name the file with its certificate in REQUESTS_CA_BUNDLE"
)


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
    slowest: float = 1000
    """Fewest bytes a second..."""
    slow_for: float = 60
    """...over such a stretch of a body."""


PATIENCE = Patience()


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    mirror: str | None,
    limits: Limits = LIMITS,
    patience: Patience = PATIENCE,
) -> str:
    """Write what `url` (or its copy in `mirror`) holds to `target` and return where it came from in the end.

    `sha256` is the checksum of the whole file, None when something inside it will be checked instead.
    Raises UserError, with `target` left as it was, when the file cannot be had whole or its checksum differs.
    What came of a file that breaks off stays beside `target` (gptsmith.sources.partial) for the next call.
    """
    location = url if mirror is None else mirrored(url, mirror)
    shown = without_credentials(url)
    if mirror is not None:
        shown += f" in the mirror {without_credentials(mirror)}"
    if isinstance(location, Path):
        with atomic_path(target) as temporary:
            shutil.copyfile(location, temporary)
            _check(temporary, sha256, shown)
        return location.resolve().as_uri()
    partial = partial_of(target, location, _without_secrets(location))
    partial.drop_unless_resumable()
    try:
        final = _transfer(location, partial, limits, patience, shown)
    except BaseException:
        partial.drop_unless_resumable()
        raise
    try:
        _check(partial.path, sha256, shown)
    except UserError:
        partial.drop()
        raise
    partial.finish()
    return _without_secrets(final)


def _check(file: Path, sha256: str | None, shown: str) -> None:
    if sha256 is not None:
        check_sha256(sha256_of(file), sha256, f"{shown}{web_page_hint(file)}")


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
    session.hooks["response"].append(_refuse_downgrade)
    # A compressed transfer could neither be measured nor resumed in bytes of the file.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _refuse_downgrade(response: requests.Response, **_: Any) -> None:
    """Who asked for https did not agree that everyone on the way reads along, signatures in the address included."""
    further = urljoin(response.url, response.headers.get("Location", ""))
    if response.is_redirect and response.url.startswith("https:") and further.startswith("http:"):
        raise requests.exceptions.InvalidURL(f"redirects from https to {_without_secrets(further)}, which is refused")


def _transfer(url: str, partial: Partial, limits: Limits, patience: Patience, shown: str) -> str:
    """Write the body of `url` to `partial`, taking it up again where it broke off; return the final URL.

    Retry handles requests that get no answer or a bad one; here remain the bodies that break off. urllib3
    raises when fewer bytes come than Content-Length says. A server that ignores Range, or whose file has
    changed (If-Range, RFC 9110 section 13.1.5), answers 200 and the file begins anew.
    """
    reason = ""
    with _session(patience) as session:
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.backoff * 2 ** (attempt - 1))
            try:
                with _answer(session, url, partial, patience) as response:
                    if response.status_code == 416 and _content_range(response) == f"bytes */{partial.size()}":
                        return response.url  # nothing was missing but its name
                    if not response.ok and response.status_code != 416:
                        raise UserError(f"{shown}: {_status(response, patience)}")
                    if _begins(response, partial):
                        _receive(response, partial, limits, patience, shown)
                        return response.url
                    reason = "the server did not continue where it was asked to"
            except requests.RequestException as error:
                raise UserError(f"{shown}: {plain_reason(error)}") from error
            except (HTTPError, TimeoutError) as error:
                reason = plain_reason(error)
    came = decimal(partial.size())
    raise UserError(f"{shown}: broke off {patience.attempts} times, last after {came}: {reason}; run again later")


def _answer(session: requests.Session, url: str, partial: Partial, patience: Patience) -> requests.Response:
    """Ask for what `partial` has not got yet."""
    headers = {}
    if written := partial.size():
        headers["Range"] = f"bytes={written}-"
        if validator := partial.version().validator:
            headers["If-Range"] = validator
    try:
        return session.get(url, headers=headers, stream=True, timeout=(patience.connect, patience.read))
    except ValueError as error:  # of the address in a redirect
        raise requests.exceptions.InvalidURL(str(error)) from error


def _begins(response: requests.Response, partial: Partial) -> bool:
    """Whether the body can be appended to `partial`, which is emptied where the body is not its rest."""
    found, start = _version(response), f"bytes {partial.size()}-"
    if response.status_code not in (206, 416):
        partial.begin(found)
        return True
    if _content_range(response).startswith(start) and found.continues(partial.version()):
        return True
    partial.drop()
    return False


def _receive(response: requests.Response, partial: Partial, limits: Limits, patience: Patience, shown: str) -> None:
    """Append the body to `partial`. Raises UserError, and drops what came, when it is larger than allowed.

    Raises urllib3's HTTPError when the body breaks off, TimeoutError when it comes too slowly.
    """
    written, total = partial.size(), _version(response).size
    most = int(limits.download_gb * 1e9)
    if total is not None and total > most:
        _refuse_size(total, partial, limits, shown)
    with partial.path.open("ab") as file, _progress(written, total, shown) as advance:
        since, lately = time.monotonic(), 0
        # read1 returns what is there: iter_content would wait for a whole chunk, however slowly it comes.
        while chunk := response.raw.read1(CHUNK_BYTES):
            written, lately = written + len(chunk), lately + len(chunk)
            if written > most:
                _refuse_size(written, partial, limits, shown)
            file.write(chunk)
            advance(len(chunk))
            if (passed := time.monotonic() - since) >= patience.slow_for:
                if lately < patience.slowest * passed:
                    raise TimeoutError(f"{decimal(lately)} in {math.ceil(passed)} s is too slow")
                since, lately = time.monotonic(), 0


def _refuse_size(size: int, partial: Partial, limits: Limits, shown: str) -> None:
    partial.drop()
    allowed = f"execution.limits.download_gb allows {limits.download_gb:g} GB"
    raise UserError(f"{shown}: {decimal(size)} or more, but {allowed}; raise it if the file is meant to be so large")


def _status(response: requests.Response, patience: Patience) -> str:
    # Not the server's own phrase, which could hold anything.
    status = f"HTTP status {response.status_code} {responses.get(response.status_code, '')}".rstrip()
    if response.status_code in PASSING_TROUBLES:
        wait = response.headers.get("Retry-After", "")
        told = f" (the server asks to wait {wait} s)" if wait.isdecimal() else ""
        return f"{status}, {patience.attempts} times; run again later{told}"
    if response.status_code == 407:
        return f"{status}: {PROXY_REMEDY}"
    return status


def _content_range(response: requests.Response) -> str:
    return response.headers.get("Content-Range", "")


def _version(response: requests.Response) -> Version:
    """Of the whole file, also where the answer is a part of it. If-Range takes no weak entity tags."""
    etag = response.headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    partly = response.status_code == 206
    size = _content_range(response).rpartition("/")[2] if partly else response.headers.get("Content-Length", "")
    # isascii: isdecimal takes the digits of all scripts. 20 digits are more than any file has.
    return Version(validator, int(size) if size.isascii() and size.isdecimal() and len(size) < 20 else None)


@contextmanager
def _progress(written: int, total: int | None, shown: str) -> Iterator[Callable[[int], None]]:
    """Yield what to call with the number of bytes that came: a bar on a terminal, else a line before and after."""
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


def plain_reason(error: BaseException) -> str:
    """The innermost cause, which is the one that says what happened ("Connection refused")."""
    root = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    reason = getattr(root, "strerror", None) or str(root) or type(root).__name__
    # ProxyError is a kind of ConnectionError as well as SSLError is.
    if isinstance(error, requests.exceptions.ProxyError):
        reason = f"the proxy fails: {reason}; {PROXY_REMEDY}"
    elif isinstance(error, requests.exceptions.SSLError):
        reason = f"no trusted connection: {reason}; {CERTIFICATE_REMEDY}"
    # A server's words may be among it.
    return "".join(character if character.isprintable() else " " for character in reason)


def without_credentials(url: str) -> str:
    """`url` without a user's name and password, as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _without_secrets(url: str) -> str:
    """A query may hold a signature that lets its bearer in, and is out of date tomorrow."""
    return without_credentials(urlunsplit(urlsplit(url)._replace(query="", fragment="")))
