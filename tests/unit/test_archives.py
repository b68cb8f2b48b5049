"""One member is read out of an archive, and harmful archives are refused."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from gptsmith.config.limits import LIMITS, Limits
from gptsmith.errors import UserError
from gptsmith.sources.archives import read_member

TEXT = b"label\ttext\n" * 1000


def content(archive: Path, member: str, limits: Limits = LIMITS) -> bytes:
    return b"".join(read_member(archive, member, "the archive", limits))


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: Any = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_a_member_of_a_zip(tmp_path: Path, compression: int) -> None:
    archive = make_zip(tmp_path / "data.bin", {"readme": b"hello", "folder/data.tsv": TEXT}, compression)
    assert content(archive, "folder/data.tsv") == TEXT


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_reads_a_member_of_a_tar(tmp_path: Path, mode: str) -> None:
    archive = make_tar(tmp_path / "data.zip", [(tar_entry("readme"), b"hello"), (tar_entry("data.tsv"), TEXT)], mode)
    assert content(archive, "data.tsv") == TEXT


def test_a_zip_inside_a_plain_tar_does_not_make_the_tar_a_zip(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"a": b"1"}).read_bytes()
    archive = make_tar(tmp_path / "outer", [(tar_entry("inner.zip"), inner)], "w")
    assert content(archive, "inner.zip") == inner


def test_a_missing_member_is_answered_with_near_names(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"SMSSpamCollection": b"x", "readme": b"y"})
    with pytest.raises(
        UserError, match=r"the archive: no member SMSSpamCollection.txt; there are 'SMSSpamCollection'$"
    ):
        content(archive, "SMSSpamCollection.txt")


def test_without_a_near_name_the_first_names_are_shown(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", [(tar_entry("\x1b[2J"), b"x"), (tar_entry("bbb"), b"x")])
    with pytest.raises(UserError) as caught:
        content(archive, "wholly-different")
    assert r"there are '\x1b[2J', 'bbb'" in str(caught.value)


@pytest.mark.parametrize("member", ["/etc/passwd", "../secret", "folder/../../secret"])
def test_a_member_outside_the_archive_is_refused(tmp_path: Path, member: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {member: b"x"})
    with pytest.raises(UserError, match="path inside the archive"):
        content(archive, member)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data", b"good")
        archive.writestr("data", b"bad")
    make_tar(tmp_path / "a.tar", [(tar_entry("data"), b"good"), (tar_entry("data"), b"bad")])
    for name in ("a.zip", "a.tar"):
        with pytest.raises(UserError, match="data is in the archive 2 times"):
            content(tmp_path / name, "data")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE], ids=ascii
)
def test_only_regular_files_of_a_tar_are_read(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tar", [(tar_entry("data", kind, "/etc/passwd"), b"")])
    with pytest.raises(UserError, match="data is no regular file"):
        content(archive, "data")


def test_only_regular_files_of_a_zip_are_read(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/", b"")
        archive.writestr(zipfile.ZipInfo("made-on-windows/"), b"")
    for member in ("link", "folder/", "made-on-windows/"):
        with pytest.raises(UserError, match=f"{member} is no regular file"):
            content(tmp_path / "a.zip", member)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"data": b"secret"})
    packed = bytearray(archive.read_bytes())
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags_at] |= 1
    archive.write_bytes(packed)
    with pytest.raises(UserError, match="data is encrypted"):
        content(archive, "data")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_cannot_be_bounded_is_refused(tmp_path: Path, compression: int) -> None:
    archive = make_zip(tmp_path / "a.zip", {"data": TEXT}, compression)
    with pytest.raises(UserError, match="only deflate"):
        content(archive, "data")


def with_size(archive: Path, size: Literal["packed", "unpacked"], value: int) -> Path:
    """Overwrite a size of the zip's first member, in its own header and in the central directory."""
    content = bytearray(archive.read_bytes())
    offset = {"packed": 0, "unpacked": 4}[size]
    for signature, sizes_at in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
        struct.pack_into("<I", content, content.index(signature) + sizes_at + offset, value)
    archive.write_bytes(content)
    return archive


def bomb_in_zip(path: Path) -> Path:
    return make_zip(path, {"data": bytes(4 << 20)})


def bomb_in_zip_that_overstates_its_packed_size(path: Path) -> Path:
    return with_size(bomb_in_zip(path), "packed", 1 << 24)


def bomb_in_tar(path: Path) -> Path:
    return make_tar(path, [(tar_entry("data"), bytes(4 << 20))])


def bomb_before_the_member(path: Path) -> Path:
    return make_tar(path, [(tar_entry("other"), bytes(4 << 20)), (tar_entry("data"), b"x")])


def bomb_in_a_header(path: Path) -> Path:
    """A name of 4 MiB, which tarfile would read into memory whole."""
    return make_tar(path, [(tar_entry("a" * (4 << 20)), b"x"), (tar_entry("data"), b"x")])


@pytest.mark.parametrize(
    "bomb",
    [
        bomb_in_zip,
        bomb_in_zip_that_overstates_its_packed_size,
        bomb_in_tar,
        bomb_before_the_member,
        bomb_in_a_header,
    ],
)
def test_bombs_are_refused_before_they_unpack(tmp_path: Path, bomb: Callable[[Path], Path]) -> None:
    archive = bomb(tmp_path / "bomb")
    assert archive.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="unpacks"):
            next(read_member(archive, "data", "the archive", LIMITS))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_that_understates_the_size_yields_no_more_than_it_says(tmp_path: Path) -> None:
    archive = with_size(make_zip(tmp_path / "a.zip", {"data": TEXT}), "unpacked", 10)
    with pytest.raises(UserError, match="not a readable zip"):
        content(archive, "data")


def test_the_limit_on_the_size_holds_whatever_the_ratio(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"data": TEXT}, zipfile.ZIP_STORED)
    assert content(archive, "data", Limits(unpacked_gb=len(TEXT) / 1e9)) == TEXT
    with pytest.raises(UserError, match=r"more than execution\.limits allows"):
        content(archive, "data", Limits(unpacked_gb=(len(TEXT) - 1) / 1e9))


def damaged_zip(path: Path) -> None:
    make_zip(path, {"data": TEXT}, zipfile.ZIP_STORED)
    packed = bytearray(path.read_bytes())
    packed[100] ^= 1
    path.write_bytes(packed)


def cut_zip(path: Path) -> None:
    path.write_bytes(make_zip(path, {"data": TEXT}).read_bytes()[:-30])


def cut_tar(path: Path) -> None:
    path.write_bytes(make_tar(path, [(tar_entry("data"), TEXT)]).read_bytes()[:-30])


def web_page(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><title>sign in</title>")


def packed_text(path: Path) -> None:
    path.write_bytes(gzip.compress(TEXT))


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damaged_zip, cut_zip, cut_tar, web_page, packed_text, nothing])
def test_what_is_no_whole_archive_is_said_plainly(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(tmp_path / "a")
    with pytest.raises(UserError, match=r"^the archive: not a readable zip, wheel or tar, it begins with b"):
        content(tmp_path / "a", "data")
