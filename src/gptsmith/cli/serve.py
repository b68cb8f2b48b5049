"""`gptsmith serve`: a model behind HTTP."""

import ipaddress
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from gptsmith.cli.options import ALL_CORES, Checkpoint, Device, Prompt, Threads
from gptsmith.errors import UserError

EXAMPLES = """
\b
Examples:
  gptsmith serve checkpoints/finetuned/starter/assistant/seed-123
  gptsmith serve checkpoints/finetuned/starter/spam/seed-1 --port 8001
  curl localhost:8001/classify -H "Content-Type: application/json" -d '{"texts": ["win a prize"]}'
"""


def serve(
    checkpoint: Checkpoint,
    host: Annotated[str, typer.Option(help="Address to listen on; by default only this machine reaches it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    name: Annotated[str | None, typer.Option(help="The model's name; NAME/RUN/seed-N when left out.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    parallel: Annotated[int, typer.Option(min=1, help="Requests that run at a time.")] = 2,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; others get 503 and Retry-After.")] = 64,
    max_body: Annotated[int, typer.Option(min=1, help="Longest request, in bytes.")] = 1_000_000,
    max_text: Annotated[int, typer.Option(min=1, help="Longest text, in characters.")] = 100_000,
    prompt: Prompt = None,
    device: Device = "auto",
    threads: Threads = ALL_CORES,
) -> None:
    """Serve a model over HTTP, with a page to try it.

    A language model answers /v1/chat/completions (as OpenAI's API does, streaming too) and /v1/models; a classifier
    answers /classify. /health says that it runs, and / is the page. Needs the extra `serve`.
    """
    # torch takes seconds to import, which --help should not; the others are an extra.
    try:
        import uvicorn

        from gptsmith.serving.app import Bounds, create_app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "gptsmith":
            raise
        raise UserError(
            f"serving needs {error.name}, which is not installed:\npip install -r requirements-serve.txt"
        ) from error
    from gptsmith.checkpoint.configuration import is_classifier
    from gptsmith.generation.conversation import load_assistant
    from gptsmith.generation.texts import load_text_classifier
    from gptsmith.training.compute import choose_compute

    listening = _listening(host, port)
    compute = choose_compute(device, "auto", threads)
    served = (
        load_text_classifier(checkpoint, compute)
        if is_classifier(checkpoint)
        else load_assistant(checkpoint, prompt, compute)
    )
    bounds = Bounds(max_body, max_text, max_new_tokens, parallel, queue)
    shown = f"[{host}]" if ":" in host else host
    hosts = ["localhost", "127.0.0.1", "[::1]", shown] if _is_loopback(host) else ["*"]
    app = create_app(name or _name_of(checkpoint), served, bounds, hosts)
    if not _is_loopback(host):
        print(f"Whoever reaches {host} may use the model: there is no password.", file=sys.stderr)
    print(f"Serving on http://{shown}:{listening.getsockname()[1]} (Ctrl-C stops it)", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port} ({error.strerror}): take another with --port or --host"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name_of(checkpoint: Path) -> str:
    match checkpoint.resolve().parts:
        case (*_, "checkpoints", "finetuned", name, run, seed):
            return f"{name}/{run}/{seed}"
        case parts:
            return parts[-1]
