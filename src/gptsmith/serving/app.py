"""A model behind HTTP: OpenAI's chat completions or labels for texts, and a page to try it."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation.conversation import Assistant, Piece, Turn, answer, conversation_ids
from gptsmith.generation.texts import TextClassifier, classify_texts
from gptsmith.serving.bounds import BoundedBodies, BoundedQueue, error_response
from gptsmith.serving.requests import ChatRequest, ClassifyRequest

PAGE = Path(__file__).parent
# Nothing but the page's own script and style runs, and it talks to this server alone.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Bounds:
    """The most that is taken and given."""

    body_bytes: int = 1_000_000
    text_characters: int = 100_000
    new_tokens: int = 512
    running: int = 2
    waiting: int = 64


def create_app(name: str, served: Assistant | TextClassifier, bounds: Bounds, hosts: list[str]) -> FastAPI:
    """name: of the model; hosts: those that a request may be for (a page elsewhere that has its own name point to
    this machine is refused), `*` for any."""
    app = FastAPI(title=f"gptsmith: {name}", docs_url=None, redoc_url=None)
    # As many threads as requests may run: what a client no longer waits for is over before the next begins.
    threads = ThreadPoolExecutor(bounds.running, thread_name_prefix="model")
    task = "chat" if isinstance(served, Assistant) else "classify"
    created = int(time.time())
    # The last is the outermost.
    app.add_middleware(BoundedQueue, running=bounds.running, waiting=bounds.waiting)
    app.add_middleware(BoundedBodies, longest=bounds.body_bytes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> JSONResponse:
        return error_response(400, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return error_response(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.get("/")
    async def page() -> Response:
        return FileResponse(PAGE / "page.html", media_type="text/html", headers=PAGE_HEADERS)

    @app.get("/page.js")
    async def script() -> Response:
        return FileResponse(PAGE / "page.js", media_type="text/javascript", headers=PAGE_HEADERS)

    @app.get("/page.css")
    async def style() -> Response:
        return FileResponse(PAGE / "page.css", media_type="text/css", headers=PAGE_HEADERS)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": name, "task": task}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": created, "owned_by": "gptsmith"}],
        }

    @app.post("/classify")
    async def classify(request: ClassifyRequest) -> dict[str, Any]:
        if not isinstance(served, TextClassifier):
            raise HTTPException(404, "the model is a language model: use /v1/chat/completions")
        _check_length(request.texts, bounds)
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(threads, classify_texts, served, request.texts)
        return {"model": name, "results": list(_results(served, result.probabilities.tolist(), result.n_tokens))}

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> Response:
        if not isinstance(served, Assistant):
            raise HTTPException(404, "the model is a classifier: use /classify")
        if request.model != name:
            raise HTTPException(404, f"no model {request.model!r}, only {name!r}")
        _check_length([message.content for message in request.messages], bounds)
        new_tokens = request.max_completion_tokens or request.max_tokens or bounds.new_tokens
        if new_tokens > bounds.new_tokens:
            raise HTTPException(400, f"max_tokens: at most {bounds.new_tokens} here, found {new_tokens}")
        turns, message = _turns(request)
        input_ids, _ = conversation_ids(served, turns, message, new_tokens)
        settings = Generation(
            max_new_tokens=new_tokens,
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            seed=request.seed,
        )
        pieces = _in_thread(threads, answer(served, input_ids, settings))
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if request.stream:
            usage = request.stream_options is not None and request.stream_options.include_usage
            events = _events(head, pieces, len(input_ids), usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        whole = [piece async for piece in pieces]
        text = "".join(piece.text for piece in whole)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": whole[-1].finish_reason,
        }
        usage_told = _usage(len(input_ids), whole[-1].n_tokens)
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage_told})

    return app


def _check_length(texts: list[str], bounds: Bounds) -> None:
    if (longest := max(map(len, texts))) > bounds.text_characters:
        raise HTTPException(400, f"a text has {longest:,} characters; at most {bounds.text_characters:,} are read")


def _turns(request: ChatRequest) -> tuple[list[Turn], str]:
    """The turns before the last message, and that."""
    roles = [message.role for message in request.messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise HTTPException(400, "messages: those of user and assistant have to take turns, from user to user")
    contents = [message.content for message in request.messages]
    return [Turn(*pair) for pair in zip(contents[:-1:2], contents[1::2], strict=True)], contents[-1]


def _results(classifier: TextClassifier, probabilities: list[list[float]], n_tokens: Any) -> Iterator[dict[str, Any]]:
    for row, length in zip(probabilities, n_tokens, strict=True):
        yield {
            "label": classifier.labels[row.index(max(row))],
            "probabilities": dict(zip(classifier.labels, row, strict=True)),
            "truncated": bool(length > classifier.max_length),
        }


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _events(head: dict[str, Any], pieces: AsyncIterator[Piece], n_prompt: int, usage: bool) -> AsyncIterator[str]:
    """Server-sent events, as OpenAI's API has them."""

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"

    yield event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    async for piece in pieces:
        if piece.text:
            yield event([{"index": 0, "delta": {"content": piece.text}, "finish_reason": None}])
        if piece.finish_reason is not None:
            yield event([{"index": 0, "delta": {}, "finish_reason": piece.finish_reason}])
            if usage:
                yield event([], usage=_usage(n_prompt, piece.n_tokens))
    yield "data: [DONE]\n\n"


async def _in_thread(threads: ThreadPoolExecutor, pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """`pieces`, made in one thread from the first to the last; it stops when nobody takes them any more."""
    loop, made = asyncio.get_running_loop(), asyncio.Queue[Piece | None]()
    stopped = threading.Event()

    def make() -> None:
        try:
            for piece in pieces:
                if stopped.is_set():
                    return
                loop.call_soon_threadsafe(made.put_nowait, piece)
        finally:
            loop.call_soon_threadsafe(made.put_nowait, None)

    making = loop.run_in_executor(threads, make)
    try:
        while (piece := await made.get()) is not None:
            yield piece
        await making
    finally:
        stopped.set()
