"""A download that broke off goes on where it ended, also in another process, and never with another file's bytes."""

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from faulty_server import FILE, HASTY, SHA256, Server, breaks_off, rest, status, whole

from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.files import read_json
from gptsmith.sources.fetch import download_source, fetch_file, record_path
from gptsmith.sources.http import Patience, download

DOWNLOAD = Path(__file__).parents[2] / "workflow" / "scripts" / "download.py"
CHANGED = random.Random(1).randbytes(len(FILE))
CHANGED_SHA256 = hashlib.sha256(CHANGED).hexdigest()
ONCE = Patience(attempts=1, backoff=0, longest_wait=0, connect=5, read=5)
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


def fail(url: str, target: Path) -> None:
    """A call that ends before the file is whole."""
    with pytest.raises(UserError, match="run again later"):
        download(url, target, sha256=SHA256, mirror=None, patience=ONCE)
    assert not target.exists()


def get(url: str, target: Path, sha256: str = SHA256) -> None:
    download(url, target, sha256=sha256, mirror=None, patience=HASTY)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == sha256
    assert list(target.parent.iterdir()) == [target]


def asked_from(server: Server, request: int) -> int:
    """Where the request wants the body to begin."""
    return int(server.requests[request][1].get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def test_a_killed_download_goes_on_where_it_ended(server: Server, target: Path) -> None:
    over = threading.Event()

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        breaks_off(400_000, ETag='"v1"')(handler)
        over.wait(60)

    source = Source(url=server.serves("/file", stalls, rest()), sha256=SHA256)
    settings = json.dumps([source.model_dump(exclude_none=True)])
    command = [sys.executable, str(DOWNLOAD), "--settings", settings, "--output", str(target)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    folder = target.with_name(f".{target.name}.partial")
    while sum(file.stat().st_size for file in folder.glob(".*.partial")) < 300_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    over.set()
    assert not target.exists()
    download_source([source], target, mirror=None, name="data", patience=HASTY)
    assert target.read_bytes() == FILE
    assert asked_from(server, 1) >= 300_000
    assert server.requests[1][1]["If-Range"] == '"v1"'
    assert sorted(target.parent.iterdir()) == [target, record_path(target)]


def test_the_partial_file_says_what_it_is_part_of(server: Server, target: Path) -> None:
    url = server.serves("/file?signature=secret", breaks_off(400_000, Last_Modified=DATE))
    fail(url, target)
    partial, record = sorted(target.parent.iterdir(), key=lambda file: file.suffix, reverse=True)
    assert (partial.suffix, record.suffixes[-2:]) == (".partial", [".partial", ".json"])
    assert FILE.startswith(partial.read_bytes())
    assert read_json(record) == {"url": url.removesuffix("?signature=secret"), "validator": DATE, "size": len(FILE)}


def test_a_file_that_changed_meanwhile_is_read_from_its_start(server: Server, target: Path) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), whole(CHANGED, ETag='"v2"'))
    fail(url, target)
    get(url, target, CHANGED_SHA256)
    assert server.requests[1][1]["If-Range"] == '"v1"'


@pytest.mark.parametrize("other", [rest(CHANGED, ETag='"v2"'), rest(CHANGED + b"longer")])
def test_a_server_that_goes_on_with_another_file_is_not_believed(server: Server, target: Path, other: object) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), other, whole(CHANGED, ETag='"v2"'))  # type: ignore[arg-type]
    fail(url, target)
    get(url, target, CHANGED_SHA256)
    assert [asked_from(server, request) for request in (0, 2)] == [0, 0]
    assert asked_from(server, 1) > 0


def test_without_a_validator_nothing_is_kept_for_another_process(server: Server, target: Path) -> None:
    url = server.serves("/file", breaks_off(400_000), whole())
    fail(url, target)
    assert list(target.parent.iterdir()) == []
    get(url, target)


@pytest.mark.parametrize("record", ["", "[]", '{"validator": 1}', "{}"])
def test_a_damaged_record_costs_only_what_had_come(server: Server, target: Path, record: str) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), whole(ETag='"v1"'))
    fail(url, target)
    next(target.parent.glob(".*.json")).write_text(record)
    get(url, target)


def test_damaged_bytes_are_found_and_read_anew_the_next_time(server: Server, target: Path) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), rest(), whole(ETag='"v1"'))
    fail(url, target)
    next(target.parent.glob(".*.partial")).write_bytes(CHANGED[:300_000])
    with pytest.raises(UserError, match=f"sha256 expected {SHA256}, found "):
        download(url, target, sha256=SHA256, mirror=None, patience=HASTY)
    assert list(target.parent.iterdir()) == []
    get(url, target)


def test_a_whole_file_that_lacks_its_name_is_not_read_again(server: Server, target: Path) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), status(416, Content_Range=f"bytes */{len(FILE)}"))
    fail(url, target)
    next(target.parent.glob(".*.partial")).write_bytes(FILE)
    get(url, target)


def test_what_came_of_one_source_does_not_outlive_the_success_of_another(server: Server, target: Path) -> None:
    sources = [
        Source(url=server.serves("/cut", breaks_off(400_000, ETag='"v1"')), sha256=SHA256),
        Source(url=server.serves("/whole", status(404), whole()), sha256=SHA256),
    ]
    with pytest.raises(UserError, match="no source works"):
        fetch_file(sources, target, mirror=None, patience=ONCE)
    assert [path.name for path in target.parent.iterdir()] == [f".{target.name}.partial"]
    fetch_file(sources, target, mirror=None, patience=ONCE)
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("recorded", [False, True])
def test_jobs_that_want_the_same_file_fetch_it_once(
    server: Server, target: Path, recorded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        whole()(handler)

    source = Source(url=server.serves("/file", slowly), sha256=SHA256)

    def job(_number: int) -> None:
        if recorded:
            download_source([source], target, mirror=None, name="data", patience=HASTY)
        else:
            fetch_file([source], target, mirror=None, patience=HASTY)
        assert target.read_bytes() == FILE

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(job, range(4)))
    assert len(server.requests) == 1
    assert f"{target}: waiting for another process that is downloading it" in capsys.readouterr().err
    assert sorted(target.parent.iterdir()) == [target] + ([record_path(target)] if recorded else [])


def test_a_file_that_is_there_but_not_the_one_wanted_is_replaced(server: Server, target: Path) -> None:
    source = Source(url=server.serves("/file", whole()), sha256=SHA256)
    target.write_bytes(b"other")
    record_path(target).write_text("{}")
    download_source([source], target, mirror=None, name="data", patience=HASTY)
    assert target.read_bytes() == FILE
    target.write_bytes(b"other")
    download_source([source], target, mirror=None, name="data", patience=HASTY)
    assert target.read_bytes() == FILE
