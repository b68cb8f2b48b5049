"""The check that decides whether bytes are the ones wanted."""

from gptsmith.errors import UserError


def check_sha256(found: str, expected: str | None, what: str) -> None:
    """Raise UserError with both sums unless `found` is `expected`; None accepts any content."""
    if expected is not None and found != expected:
        raise UserError(f"{what}: checksum differs, sha256 expected {expected}, found {found}")
