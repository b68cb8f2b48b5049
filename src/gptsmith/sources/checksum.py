"""The check that decides whether bytes are the ones wanted."""

from pathlib import Path

from gptsmith.errors import UserError


def check_sha256(found: str, expected: str | None, what: str) -> None:
    """Raise UserError with both sums unless `found` is `expected`; None accepts any content."""
    if expected is not None and found != expected:
        raise UserError(f"{what}: checksum differs, sha256 expected {expected}, found {found}")


def web_page_hint(file: Path) -> str:
    """What to add to a complaint where the file is what a network shows before it lets one in, or a store's excuse."""
    with file.open("rb") as content:
        page = content.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return "; it is a web page" if page else ""
