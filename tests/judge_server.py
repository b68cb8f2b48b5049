"""A chat model on the loopback interface that answers with what it is told to, or fails as servers do."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Request:
    path: str
    headers: Message
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return self.body["messages"][0]["content"]


@dataclass
class JudgeServer:
    """Gives each of `answers` in turn and then `always`; remembers the requests, and how many it had at once."""

    port: int = 0
    always: Answer = field(default_factory=lambda: says("80"))
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(Request(handler.path, handler.headers, body))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            answer = self.answers.pop(0) if self.answers else self.always
        try:
            answer(handler)
        finally:
            with self.lock:
                self.at_once -= 1


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    server = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.handle(self)

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:  # a client that has gone
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_port
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    http.shutdown()
    http.server_close()


def sends(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(content: str | None, finish_reason: str = "stop", model: str = "llama3:8b") -> Answer:
    message = {"role": "assistant", "content": content}
    completion = {"model": model, "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}
    return sends(200, json.dumps(completion).encode(), Content_Type="application/json")


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


def drips(handler: BaseHTTPRequestHandler) -> None:
    """A byte at a time, and never the last one."""
    handler.send_response(200)
    handler.end_headers()
    stop = threading.Event()
    try:
        while not stop.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()
    except OSError:
        pass
