"""A file's name holds the whole content or the content from before, never a part."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptsmith.errors import UserError
from gptsmith.files import atomic_path, read_json, sha256_of, write_json, write_text


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_name_appears_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.bin"
    with atomic_path(target) as path:
        assert path.parent == target.parent  # renaming works within a file system only
        path.write_bytes(b"half")
        assert not target.exists()
        path.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left, of_another, just_now = (tmp_path / f".{name}.partial" for name in ("file.bin.a", "other.bin.a", "file.bin.b"))
    for path in (left, of_another, just_now):
        path.write_bytes(b"half")
    for path in (left, of_another):
        os.utime(path, (0, 0))
    write_text(tmp_path / "file.bin", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file.bin", of_another.name, just_now.name}


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [b"content from before", None])
def test_a_failure_leaves_what_was_there(old: bytes | None, error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    if old is not None:
        target.write_bytes(old)

    def write_half() -> None:
        with atomic_path(target) as path:
            path.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_old_content_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "a much longer text")
    write_text(target, "été\n")
    assert target.read_bytes() == "été\n".encode()


def test_the_file_is_as_readable_as_others(tmp_path: Path, umask: None) -> None:
    write_text(tmp_path / "file.txt", "text")
    (tmp_path / "ordinary.txt").write_text("text")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o640}
    assert os.umask(0o027) == 0o027  # asking for it has not changed it


def test_json_is_readable_by_people_and_comes_back(tmp_path: Path) -> None:
    value = {"é": [1, 2.5, None, True], "nested": {"text": "“quoted”"}}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "é": [\n')
    assert text.endswith("}\n")
    assert read_json(tmp_path / "file.json") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(number: float, tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": number})
    assert read_json(tmp_path / "file.json") == {"loss": 1.0}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', "file.json, line 2, column 7: not valid JSON"),
        (b"", "file.json, line 1, column 1: not valid JSON"),
        (b'{"a": "\xff"}', "file.json: not UTF-8 at byte 7"),
        (b"[" * 100_000, "file.json: not usable JSON"),
        (b"9" * 5000, "file.json: not usable JSON"),
    ],
)
def test_unusable_json_is_named_with_its_place(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("content", [b"", b"abc", b"x" * 3_000_000])
def test_sha256(content: Any, tmp_path: Path) -> None:
    known = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        3: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    (tmp_path / "file").write_bytes(content)
    digest = sha256_of(tmp_path / "file")
    assert digest == known.get(len(content), digest)
    (tmp_path / "file").write_bytes(content + b"!")
    assert sha256_of(tmp_path / "file") != digest
