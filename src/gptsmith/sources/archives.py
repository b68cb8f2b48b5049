"""Reading one named member of a zip, a wheel or a tar that may have been made to do harm.

Nothing is unpacked but the bytes of that member, and they go where the caller says, whatever names the
archive holds.
"""

import bz2
import difflib
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from gptsmith.config.limits import Limits
from gptsmith.errors import UserError
from gptsmith.sources.checksum import web_page_hint

CHUNK_BYTES = 1 << 20
# What unpacks to no more than this is no bomb, whatever the ratio.
HARMLESS_BYTES = 1 << 20
ALLOWED = "more than execution.limits allows (unpacked_gb, unpack_ratio)"
UNPACKERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# What the libraries raise for a broken archive (zipfile the last but one for a method it does not know).
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError)


def read_member(archive: Path, member: str, what: str, limits: Limits) -> Iterator[bytes]:
    """Yield the content of the file `member` in chunks; the archive's kind is told by its content.

    Raises UserError, beginning with `what`, when the archive is damaged or is none, when the member is
    missing, there twice, encrypted or no regular file, and when more than `limits` would be unpacked.
    """
    if member.startswith("/") or ".." in PurePosixPath(member).parts:
        raise UserError(f"{what}: the member must be a path inside the archive, without '..': {member}")
    with archive.open("rb") as file:
        start = file.read(8)
    read = _read_zip if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) else _read_tar
    try:
        yield from read(archive, member, what, limits)
    except DAMAGED as error:
        hint = web_page_hint(archive)
        raise UserError(
            f"{what}: not a readable zip, wheel or tar, it begins with {start!r} ({error}){hint}"
        ) from error


def _read_zip(archive: Path, member: str, what: str, limits: Limits) -> Iterator[bytes]:
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        _check_listed_once(member, names, what)
        info = opened.getinfo(member)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise UserError(f"{what}: {member} is no regular file")
        if info.flag_bits & 0x1:
            raise UserError(f"{what}: {member} is encrypted; give an archive without a password")
        # The other methods unpack a few KB to gigabytes in one step, which no limit could stop.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{what}: {member} is packed by method {info.compress_type}; only deflate is read")
        # zipfile yields no more than file_size bytes, whatever the member unpacks to.
        packed = min(info.compress_size, archive.stat().st_size)
        if info.file_size > _most(packed, limits):
            raise UserError(f"{what}: {member} unpacks from {packed} to {info.file_size} bytes, {ALLOWED}")
        with opened.open(info) as content:
            while chunk := content.read(CHUNK_BYTES):
                yield chunk


def _read_tar(archive: Path, member: str, what: str, limits: Limits) -> Iterator[bytes]:
    with archive.open("rb") as file:
        start = file.read(8)
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if start.startswith(magic)), open)
    with unpack(archive, "rb") as stream:
        bounded = _Bounded(stream, _most(archive.stat().st_size, limits), what)
        with tarfile.open(fileobj=bounded, mode="r:") as opened:  # type: ignore[call-overload]
            members = list(opened)
            _check_listed_once(member, [info.name for info in members], what)
            info = next(info for info in members if info.name == member)
            if not info.isreg() or info.issparse():
                raise UserError(f"{what}: {member} is no regular file")
            with opened.extractfile(info) as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk


@dataclass(frozen=True)
class _Bounded:
    """The part of a file that tarfile uses; stops before more than `most` bytes are unpacked, headers included."""

    stream: BinaryIO
    most: int
    what: str

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, position: int) -> int:
        self._check(position)
        return self.stream.seek(position)

    def read(self, size: int) -> bytes:
        self._check(self.tell() + size)
        return self.stream.read(size)

    def _check(self, position: int) -> None:
        if position > self.most:
            raise UserError(f"{self.what}: unpacks to more than {self.most} bytes, {ALLOWED}")


def _most(packed: int, limits: Limits) -> int:
    """Bytes that `packed` bytes may unpack to."""
    return min(int(limits.unpacked_gb * 1e9), max(HARMLESS_BYTES, limits.unpack_ratio * packed))


def _check_listed_once(member: str, names: list[str], what: str) -> None:
    if names.count(member) > 1:
        raise UserError(f"{what}: {member} is in the archive {names.count(member)} times")
    if member not in names:
        near = difflib.get_close_matches(member, names, n=3, cutoff=0.4) or names[:3]
        raise UserError(f"{what}: no member {member}; there are {', '.join(map(repr, near)) or 'none'}")
