"""Where a mirror holds the copy of a URL.

A mirror is a directory or an http(s) address that holds `<host>/<path>` of every URL wanted, whatever
the URL's port and query are. It stands in for the original hosts: what it lacks is not fetched from them.
"""

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from gptsmith.errors import UserError


def mirrored(url: str, mirror: str) -> str | Path:
    """Return the address of the copy, or its path when the mirror is a directory.

    In a directory the path may be written as in the URL or percent-decoded. Raises UserError when the
    directory or the file is missing there, and for a URL whose path climbs by `..`.
    """
    parts = urlsplit(url)
    raw = f"{parts.hostname}{parts.path}"
    decoded = unquote(raw)
    if ".." in PurePosixPath(decoded).parts:
        raise UserError(f"{raw}: a path with '..' is not looked up in a mirror")
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{raw}"
    root = Path(mirror)
    if not root.is_dir():
        raise UserError(f"mirror {mirror}: no such directory")
    for place in (raw, decoded):
        if (root / place).is_file():
            return root / place
    raise UserError(f"{raw}: not in the mirror {mirror}")
