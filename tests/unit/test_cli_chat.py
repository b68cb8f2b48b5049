"""`gptsmith chat`, as it is called, and the conversation below it."""

import io
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from gptsmith.cli import app
from gptsmith.config.generation import Generation
from gptsmith.data.prompts import format_prompt
from gptsmith.errors import UserError
from gptsmith.generation.conversation import Assistant, Turn, answer, conversation_ids, load_assistant
from gptsmith.generation.generate import generate
from gptsmith.training.compute import Compute

CPU = Compute(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def assistant(tiny_assistant: Path) -> Assistant:
    return load_assistant(tiny_assistant, None, CPU)


def expected_answer(assistant: Assistant, message: str, settings: Generation, item: int = 0) -> str:
    ids = assistant.tokenizer.encode(format_prompt(message, "", "compact"))
    generated = generate(assistant.model, [ids], settings, assistant.tokenizer.vocabulary, [item])
    return assistant.tokenizer.decode(generated[0].input_ids)


def chat(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, *arguments: str, stdin: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gptsmith", "chat", str(checkpoint), *arguments])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape"))))
    with pytest.raises(SystemExit) as left:
        app.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_pieces_are_what_generating_at_once_gives(assistant: Assistant) -> None:
    for settings in (Generation(max_new_tokens=20), Generation(max_new_tokens=20, temperature=1.5, top_p=0.9, seed=3)):
        for item, message in enumerate(["win", "see you", "été"]):
            ids, _ = conversation_ids(assistant, [], message, 20)
            pieces = list(answer(assistant, ids, settings, item))
            assert "".join(piece.text for piece in pieces) == expected_answer(assistant, message, settings, item)
            assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
            assert pieces[-1].finish_reason == ("length" if pieces[-1].n_tokens == 20 else "stop")
            assert pieces[-1].n_tokens == len(pieces) - 1


def test_a_character_of_several_tokens_comes_whole(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [i for byte in "☃".encode() for i in range(256) if assistant.tokenizer.encoding.decode_bytes([i])[0] == byte]
    assert len(ids) == 3
    monkeypatch.setattr("gptsmith.generation.conversation.stream", lambda *_: iter([*ids, ids[0]]))
    pieces = [piece.text for piece in answer(assistant, [1], Generation(max_new_tokens=9))]
    assert pieces == ["", "", "☃", "", "\ufffd"]


def test_earlier_turns_are_kept_from_the_end_as_far_as_they_fit(assistant: Assistant) -> None:
    encode, end_of_text = assistant.tokenizer.encode, assistant.tokenizer.end_of_text
    turns = [Turn("zq", "gh"), Turn("jk", "vx")]
    prompts = [encode(format_prompt(message, "", "compact")) for message in ("zq", "jk", "bb")]
    last = [*prompts[1], *encode("vx"), end_of_text, *prompts[2]]
    whole = [*prompts[0], *encode("gh"), end_of_text, *last]
    assert (len(whole), len(last)) == (21, 13)
    assert conversation_ids(assistant, turns, "bb", max_new_tokens=4) == (whole, 2)
    longer = [Turn("zq" * 8, "gh"), Turn("jk", "vx")]
    assert conversation_ids(assistant, longer, "bb", max_new_tokens=100) == (last, 1)
    assert conversation_ids(assistant, [Turn("zq" * 20, "gh")], "bb", max_new_tokens=100) == (prompts[2], 0)


def test_a_message_that_leaves_no_room_is_refused(assistant: Assistant) -> None:
    with pytest.raises(UserError, match=r"too long: 53 tokens .* the model reads 48"):
        conversation_ids(assistant, [], "zq" * 25, 10)


def test_the_prompt_is_the_one_of_the_fine_tuning(tiny_assistant: Path, tiny_classifier: Path, tmp_path: Path) -> None:
    assert load_assistant(tiny_assistant, None, CPU).prompt == "compact"
    assert load_assistant(tiny_assistant, "alpaca", CPU).prompt == "alpaca"
    with pytest.raises(UserError, match=r"a classifier.*\n.*gptsmith predict"):
        load_assistant(tiny_classifier, None, CPU)
    for file in tiny_assistant.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"fine_tuning"', '"something_else"'))
    with pytest.raises(UserError, match="does not say which wording"):
        load_assistant(tmp_path, None, CPU)


def test_each_line_of_a_pipe_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_assistant: Path, assistant: Assistant
) -> None:
    settings = Generation(max_new_tokens=6)
    stdin = "win\n\nsee \\\nyou\n/reset\nwin\n/exit\nnever read\n"
    assert chat(monkeypatch, tiny_assistant, "--max-new-tokens", "6", stdin=stdin) == 0
    answers = [expected_answer(assistant, message, settings) for message in ("win", "see \nyou", "win")]
    printable = ["".join(c if c.isprintable() or c in "\n\t" else " " for c in text) for text in answers]
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in printable)


def test_history_is_seen_again_until_reset(
    monkeypatch: pytest.MonkeyPatch, tiny_assistant: Path, assistant: Assistant
) -> None:
    seen = []
    monkeypatch.setattr(
        "gptsmith.generation.conversation.conversation_ids",
        lambda assistant, turns, *rest: (
            seen.append([turn.message for turn in turns]) or conversation_ids(assistant, turns, *rest)
        ),
    )
    chat(monkeypatch, tiny_assistant, "--history", "2", "--max-new-tokens", "2", stdin="a\nb\nc\nd\n/reset\ne\n")
    assert seen == [[], ["a"], ["a", "b"], ["b", "c"], []]
    seen.clear()
    chat(monkeypatch, tiny_assistant, "--max-new-tokens", "2", stdin="a\nb\n")
    assert seen == [[], []]


def test_a_message_in_a_pipe_that_cannot_be_answered_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_assistant: Path
) -> None:
    assert chat(monkeypatch, tiny_assistant, stdin="zq" * 30 + "\nwin\n") == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err[:33]) == ("", "error: the message is too long: 6")
    assert chat(monkeypatch, tiny_assistant, stdin="a\udcff\n") == 1
    assert "not a character" in capsys.readouterr().err
    assert chat(monkeypatch, tiny_assistant, "--top-p", "0", stdin="") == 1
    assert "--top-p: more than 0" in capsys.readouterr().err


# A model that is never done with an answer, so that there is time to stop it.
SLOW = """
import itertools, sys, time
from gptsmith.generation import conversation
def stream(*arguments):
    for token in itertools.cycle(arguments[1][:1]):
        time.sleep(0.02)
        yield token
conversation.stream = stream
sys.argv = ["gptsmith", "chat", sys.argv[1]]
from gptsmith.cli.app import main
main()
"""


class Terminal:
    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self.descriptor, self.shown = pid, descriptor, ""

    def wait_for(self, pattern: str) -> str:
        """Read until what was shown since the last call has the pattern."""
        until = time.monotonic() + 60
        while not re.search(pattern, self.shown):
            assert time.monotonic() < until, self.shown[-200:]
            if select.select([self.descriptor], [], [], 1)[0]:
                self.shown += os.read(self.descriptor, 4096).decode()
        shown, self.shown = self.shown, ""
        return shown

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())


@contextmanager
def terminal(checkpoint: Path) -> Iterator[Terminal]:
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(sys.executable, [sys.executable, "-c", SLOW, str(checkpoint)])
    try:
        yield Terminal(pid, descriptor)
    finally:
        os.close(descriptor)
        with suppress(ProcessLookupError, ChildProcessError):  # it has left by itself
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_ctrl_c_stops_the_answer_and_ctrl_d_leaves(tiny_assistant: Path) -> None:
    with terminal(tiny_assistant) as shell:
        shell.wait_for("> $")
        for _ in range(2):
            shell.type("q\n")
            shell.wait_for("q\r\nq{3}")
            shell.type("\x03")
            shell.wait_for(r"\(stopped\)\r\n> $")
        shell.type("half a mess")
        shell.wait_for("mess$")
        time.sleep(0.2)  # a signal just before Python's readline waits for keys is only seen with the next key
        shell.type("\x03")
        assert "/reset forgets" in shell.wait_for("> $")
        shell.type("zq" * 40 + "\n")
        assert "the message is too long" in shell.wait_for("tokens with.*(\r\n)> $|answer\r\n> $")
        shell.type("\x04")
        for _ in range(600):
            if (ended := os.waitpid(shell.pid, os.WNOHANG)) != (0, 0):
                break
            time.sleep(0.1)
        assert os.waitstatus_to_exitcode(ended[1]) == 0
