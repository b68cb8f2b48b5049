"""What keeps a server from being overrun: bodies of a limited size, and a queue of a limited length."""

import asyncio
from collections.abc import Mapping

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 30
RETRY_SECONDS = 2


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """In the form that OpenAI's clients read."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    message = message.encode("utf-8", "replace").decode()  # it may quote half of a surrogate pair
    error = {"message": message, "type": kind, "param": None, "code": None}
    return JSONResponse({"error": error}, status, dict(headers or {}))


class BoundedBodies:
    """Reads each request's body before anything else happens with it, and refuses large (413) and slow ones (408)."""

    def __init__(self, app: ASGIApp, longest: int) -> None:
        self.app, self.longest = app, longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # the client has gone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.longest:
                        refusal = error_response(413, f"the request is longer than {self.longest:,} bytes")
                        await refusal(scope, receive, send)
                        return
        except TimeoutError:
            await error_response(408, f"the request took longer than {BODY_SECONDS} seconds")(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay, send)


class BoundedQueue:
    """Lets so many POST requests run at a time and so many wait; the others are told to come back (503).

    A request has its place until its response is over, however that comes about.
    """

    def __init__(self, app: ASGIApp, running: int, waiting: int) -> None:
        self.app = app
        self.free = asyncio.Semaphore(running)
        self.places = running + waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if self.places == 0:
            busy = error_response(503, "too many requests are waiting", {"Retry-After": str(RETRY_SECONDS)})
            await busy(scope, receive, send)
            return
        self.places -= 1
        try:
            async with self.free:
                await self.app(scope, receive, send)
        finally:
            self.places += 1
