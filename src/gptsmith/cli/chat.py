"""`gptsmith chat`: talking with a model."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gptsmith.cli.options import ALL_CORES, Checkpoint, Device, Prompt, Threads
from gptsmith.cli.terminal import printable_text
from gptsmith.errors import UserError

if TYPE_CHECKING:
    from gptsmith.generation.conversation import Piece

EXAMPLES = """
\b
Examples:
  gptsmith chat checkpoints/finetuned/starter/assistant/seed-123
  gptsmith chat CHECKPOINT --temperature 0.8 --top-p 0.95
  echo "Sort the words: pear, apple" | gptsmith chat CHECKPOINT
"""
COMMANDS = (
    "A \\ at the end of a line goes on to the next. /reset forgets what was said, /exit or Ctrl-D leaves, "
    "Ctrl-C stops an answer."
)


def chat(
    checkpoint: Checkpoint,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the most probable token each time.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample among this many most probable tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the tokens of this much probability.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 123,
    history: Annotated[
        int,
        typer.Option(min=0, help="Earlier turns that the model sees again, at most, as far as its context holds them."),
    ] = 0,
    prompt: Prompt = None,
    device: Device = "auto",
    threads: Threads = ALL_CORES,
) -> None:
    """Talk with a fine-tuned language model.

    A message is a line, and those after it while they end in a backslash. /reset forgets what was said, /exit or
    Ctrl-D leaves, Ctrl-C stops an answer. Standard input may also be a file or a pipe: each message is answered in
    turn.

    Without --history each message is answered by itself, as in the fine-tuning: a model that has only learned from
    single instructions may lose its way among several.
    """
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"--top-p: more than 0 and at most 1 is expected, found {top_p:g}")

    # torch takes seconds to import, which --help should not.
    from gptsmith.config.generation import Generation
    from gptsmith.generation.conversation import Turn, answer, conversation_ids, load_assistant
    from gptsmith.training.compute import choose_compute

    settings = Generation(max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    assistant = load_assistant(checkpoint, prompt, choose_compute(device, "auto", threads))
    turns: list[Turn] = []
    for number, message in enumerate(_messages()):
        if message == "/reset":
            turns = []
            continue
        try:
            remembered = turns[max(len(turns) - history, 0) :]
            input_ids, _ = conversation_ids(assistant, remembered, message, max_new_tokens)
        except UserError as error:
            if not sys.stdin.isatty():
                raise
            print(f"error: {error}", file=sys.stderr)
            continue
        turns.append(Turn(message, _shown(answer(assistant, input_ids, settings, item=number))))


def _messages() -> Iterator[str]:
    """The lines of standard input up to /exit, without empty ones."""
    # What is not UTF-8 is refused by the tokenizer.
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    prompt = ""
    if sys.stdin.isatty():
        import readline  # noqa: F401 (lets `input` edit lines and bring back earlier ones)

        print(COMMANDS)
        prompt = "> "
    lines: list[str] = []
    while True:
        try:
            lines.append(input(prompt))
        except EOFError:
            if lines:  # the last ended in a backslash
                yield "\n".join(lines)
            return
        except KeyboardInterrupt:
            if not prompt:
                raise
            lines = []
            print(f"\n{COMMANDS}")
            continue
        if lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            continue
        message, lines = "\n".join(lines).strip(), []
        if message == "/exit":
            return
        if message:
            yield message


def _shown(pieces: "Iterator[Piece]") -> str:
    """Print an answer as it is written; returns as much of it as there was before Ctrl-C."""
    text = ""
    try:
        for piece in pieces:
            text += piece.text
            sys.stdout.write(printable_text(piece.text))
            sys.stdout.flush()
            if piece.finish_reason == "length":
                print(f"\n(stopped after {piece.n_tokens} tokens)", end="", file=sys.stderr)
    except KeyboardInterrupt:
        print(" (stopped)", end="", file=sys.stderr)
    print(flush=True)
    return text
