"""What stands between us and a file: certificates, proxies, redirects, and servers that never come to an end."""

import itertools
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from faulty_server import FILE, HASTY, SHA256, Answer, Server, breaks_off, chunked, encrypted, send, status, whole

from gptsmith.config.limits import LIMITS, Limits
from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.sources.fetch import fetch_file
from gptsmith.sources.http import Patience, download


def fails(url: str, target: Path, patience: Patience = HASTY, limits: Limits = LIMITS) -> str:
    """The message of a download that must fail and leave nothing behind."""
    with pytest.raises(UserError) as caught:
        download(url, target, sha256=SHA256, mirror=None, limits=limits, patience=patience)
    assert list(target.parent.iterdir()) == []
    return str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused_with_the_remedy(
    server: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = encrypted(server.http, tmp_path)
    url = server.serves("/file", whole()).replace("http:", "https:")
    message = fails(url, target)
    assert message.startswith(f"{url}: no trusted connection: ")
    assert "certificate" in message
    assert "REQUESTS_CA_BUNDLE" in message
    assert "\n" not in message
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert download(url, target, sha256=SHA256, mirror=None, patience=HASTY) == url


def test_a_redirect_from_https_to_http_is_refused(
    server: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(encrypted(server.http, tmp_path)))
    url = server.serves("/file", status(302, Location="http://data.example/file?signature=secret"))
    url = url.replace("http:", "https:")
    assert fails(url, target) == f"{url}: redirects from https to http://data.example/file, which is refused"


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://data.example/file", "http://", "//[", "http://a b/"])
def test_a_redirect_to_what_is_no_web_address_is_a_plain_error(server: Server, target: Path, place: str) -> None:
    url = server.serves("/file", status(302, Location=place))
    assert fails(url, target).startswith(f"{url}: ")


def test_a_proxy_of_the_environment_is_used(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://data.example/file"
    server.serves(url, whole())
    monkeypatch.setenv("http_proxy", f"http://{server.host}")
    assert download(url, target, sha256=SHA256, mirror=None, patience=HASTY) == url
    assert target.read_bytes() == FILE
    assert [path for path, _ in server.requests] == [url]


@pytest.mark.parametrize("proxy", ["nonsense", "http://", "gopher://127.0.0.1:1"])
def test_a_proxy_that_is_none_is_a_plain_error(target: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    message = fails("http://data.example/file", target, Patience(attempts=1, connect=1))
    assert message.startswith("http://data.example/file: ")
    assert "proxy" in message.lower()


def test_a_proxy_that_wants_a_password_is_told_from_the_server(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{server.host}")
    server.serves("http://data.example/file", status(407))
    assert "407 Proxy Authentication Required: check the environment's http_proxy" in fails(
        "http://data.example/file", target
    )


def test_a_server_that_asks_for_patience_is_given_up_with_what_it_asked_for(server: Server, target: Path) -> None:
    url = server.serves("/file", status(429, Retry_After="3600"))
    told = "HTTP status 429 Too Many Requests, 3 times; run again later (the server asks to wait 3600 s)"
    assert fails(url, target) == f"{url}: {told}"


def test_a_server_that_trickles_is_given_up(server: Server, target: Path) -> None:
    url = server.serves("/file", chunked(*[b"x"] * 200, end=False, pause=0.02))
    message = fails(url, target, Patience(attempts=2, backoff=0, slowest=1000, slow_for=0.3))
    assert "broke off 2 times" in message
    assert "is too slow" in message


def test_a_body_without_end_stops_at_the_limit(server: Server, target: Path) -> None:
    url = server.serves("/file", endless)
    message = fails(url, target, limits=Limits(download_gb=0.001))
    assert "execution.limits.download_gb allows 0.001 GB; raise it" in message


def endless(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, b"", {})
    try:
        for _ in itertools.count():
            handler.wfile.write(FILE)
    except OSError:
        pass


@pytest.mark.parametrize("answer", [whole(), breaks_off(10, length=10**19), breaks_off(10, length=10**300)])
def test_a_body_announced_as_too_large_is_not_begun(server: Server, target: Path, answer: Answer) -> None:
    message = fails(server.serves("/file", answer), target, limits=Limits(download_gb=0.0001))
    assert "download_gb" in message or "broke off" in message


def test_a_chunked_body_is_read_and_a_cut_one_is_not_taken_for_whole(server: Server, target: Path) -> None:
    url = server.serves("/file", chunked(FILE[:9], FILE[9:], end=False), chunked(FILE[:9], FILE[9:]))
    download(url, target, sha256=SHA256, mirror=None, patience=HASTY)
    assert target.read_bytes() == FILE
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "-5"},
        {"Content-Length": "many"},
        {"Content-Length": "١٢"},
        {"Content-Length": "5, 6"},
        {"Transfer-Encoding": "gzip, chunked"},
        {"Content-Encoding": "gzip"},
        {"ETag": '"' + "x" * 60_000 + '"'},
    ],
    ids=str,
)
def test_headers_that_make_no_sense_end_in_a_plain_error_or_the_file(
    server: Server, target: Path, headers: dict[str, str]
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        handler.wfile.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
        handler.wfile.write(FILE)
        handler.close_connection = True

    try:
        download(server.serves("/file", answer), target, sha256=SHA256, mirror=None, patience=HASTY)
    except UserError:
        assert not target.exists()
    else:
        assert target.read_bytes() == FILE


def test_a_web_page_in_place_of_an_archive_is_called_what_it_is(server: Server, target: Path) -> None:
    source = Source(url=server.serves("/a.zip", whole(b"<!doctype html><title>Sign in")), member="a", sha256=SHA256)
    with pytest.raises(UserError, match="web page"):
        fetch_file([source], target, mirror=None, patience=HASTY)
    assert list(target.parent.iterdir()) == []
