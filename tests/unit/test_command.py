"""How a script ends: plain words for what the user can mend, a traceback for a bug."""

import errno
import os
import re
import runpy
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gptsmith.command import run
from gptsmith.errors import UserError

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
WITHOUT_TORCH = (
    "download",
    "extract",
    "prepare",
    "fetch_tokenizer",
    "gguf_tokenizer",
    "train_tokenizer",
    "tokenize_dataset",
    "baselines",
    "evaluate",
    "summarize",
    "collect_metrics",
    "report",
)


def end(main: Callable[[], None]) -> int | str | None:
    """The exit status of a script with this main function."""
    with pytest.raises(SystemExit) as left:
        run(main)
    return left.value.code


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py"])


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_a_users_mistake_is_said_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(raising(UserError("the file is empty\nadd rows"))) == 1
    assert capsys.readouterr() == ("", "error: the file is empty\nadd rows\n")


def test_debug_shows_the_traceback_before_the_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", "--debug"])
    assert end(raising(UserError("the file is empty"))) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("\nerror: the file is empty\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "big.bin"), "no space left on the disk: big.bin: free some"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk: free some"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "no space left on the disk: free some"),
        (PermissionError(errno.EACCES, "Permission denied", "x.txt"), "not allowed to read or write: x.txt: check"),
        (OSError(errno.EROFS, "Read-only file system", "x.txt"), "not allowed to read or write: x.txt: check"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.txt"), "no such file: x.txt"),
        (MemoryError(), "not enough memory: lower training.batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory: lower training.batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."), "not enough memory: lower"),
    ],
)
def test_circumstances_are_said_plainly(error: Exception, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(raising(error)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {words}")
    assert shown.count("\n") == 1


def test_a_failed_allocation_of_torch_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    assert end(lambda: print(torch.empty(2**58))) == 1
    assert capsys.readouterr().err.startswith("error: not enough memory")


def test_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("bug", [ValueError("what?"), OSError(errno.EIO, "Input/output error"), AssertionError()])
def test_a_bug_shows_its_traceback(bug: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(raising(bug)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert f"\nerror: {type(bug).__name__}: {bug}\nThis is a bug in gptsmith" in shown


def test_lines_reach_a_pipe_at_once_and_a_reader_that_left_is_no_error() -> None:
    script = (
        "import sys\n"
        "from gptsmith.command import run\n"
        "def main():\n"
        "    print('first'); sys.stdin.readline()\n"
        "    while True: print('more')\n"
        "run(main)"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command, pipe = [sys.executable, "-c", script], subprocess.PIPE
    with subprocess.Popen(command, env=buffered, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        shown_while_running = select.select([stdout], [], [], 30)[0]
        assert not shown_while_running or stdout.readline().strip() == b"first"
        stdout.close()
        stdin.write(b"\n")
        stdin.close()
        assert stderr.read() == b""
        assert process.wait() == 1
    assert shown_while_running


# ---- the scripts of the workflow -----------------------------------------------------------------


def show_help(script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda script: script.stem)
def test_every_script_explains_itself(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show_help(script, capsys, monkeypatch)
    assert shown.startswith(f"usage: {script.name}")
    assert script.read_text().splitlines()[0].strip('"') in shown
    for option in re.findall(r"add_argument\(\s*\"(--[a-z-]+)", script.read_text()):
        # Its name, its value, and on the same line or the next what it is for.
        assert re.search(rf"^  {option}( \S+)*?(  +|\n +)\w", shown, re.MULTILINE), option


def test_stages_before_and_after_the_model_import_no_torch() -> None:
    """Its import takes seconds. One process for all of them: what any imports would be seen."""
    program = (
        "import runpy, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        f"    runpy.run_path({str(SCRIPTS)!r} + f'/{{name}}.py', run_name='imported')\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
