"""A server on the loopback interface that fails in the ways servers do."""

import datetime
import hashlib
import ipaddress
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gptsmith.sources.http import Patience

FILE = random.Random(0).randbytes(600_000)
SHA256 = hashlib.sha256(FILE).hexdigest()
OTHER_SHA256 = hashlib.sha256(b"").hexdigest()
HASTY = Patience(attempts=3, backoff=0, longest_wait=0, connect=5, read=5)

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers each path by a function; remembers the headers of the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, Message]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, self.headers))
                server.answers.get(self.path, status(404))(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.http.server_port}"

    def serves(self, path: str, *answers: Answer) -> str:
        """Answer requests for `path` by each of `answers` in turn, then by the last; return the URL."""
        left = list(answers)
        self.answers[path] = lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)
        return f"http://{self.host}{path}"


@contextmanager
def serving(http: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


def status(code: int, **headers: str) -> Answer:
    return lambda handler: send(handler, code, b"", {"Content-Length": "0", **headers})


def whole(body: bytes = FILE, **headers: str) -> Answer:
    return lambda handler: send(handler, 200, body, {"Content-Length": str(len(body)), **headers})


def breaks_off(after: int, length: int = len(FILE), **headers: str) -> Answer:
    return lambda handler: send(handler, 200, FILE[:after], {"Content-Length": str(length), **headers})


def chunked(*pieces: bytes, end: bool = True, pause: float = 0) -> Answer:
    """A body of unknown length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        send(handler, 200, b"", {"Transfer-Encoding": "chunked", "Connection": "close"})
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(pause)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def rest(body: bytes = FILE, **headers: str) -> Answer:
    """What a server that supports Range does."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
        lengths = {"Content-Length": str(len(body) - start), "Content-Range": content_range}
        send(handler, 206, body[start:], lengths | headers)

    return answer


def send(handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def encrypted(http: ThreadingHTTPServer, folder: Path) -> Path:
    """Let the server speak TLS with a certificate that it signed itself; return the certificate's file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, no_encryption = folder / "certificate.pem", serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, form, no_encryption))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    return file
