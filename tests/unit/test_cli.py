"""The command `gptsmith` itself: its help, its errors, completion in a shell."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gptsmith.cli import app
from gptsmith.errors import UserError

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "pandas", "numpy", "pyarrow", "transformers", "sklearn", "fastapi", "uvicorn"}


def gptsmith(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv[0] = 'gptsmith'; from {app.__name__} import main; main()"
    variables = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"} | environment
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=60)


def test_the_entry_point_is_the_commands_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"gptsmith": f"{app.__name__}:{app.main.__name__}"}


def test_version() -> None:
    shown = gptsmith("--version")
    assert (shown.returncode, shown.stdout) == (0, f"gptsmith {importlib.metadata.version('gptsmith')}\n")


def test_what_a_command_does_is_said_to_its_end() -> None:
    shown = gptsmith("--help", COLUMNS="80")
    assert shown.returncode == 0
    assert "..." not in shown.stdout.partition("Commands:")[2]


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys; sys.argv = ['gptsmith', '--help']; from {app.__name__} import app\n"
    code += f"try: app()\nfinally: print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "Usage: gptsmith" in shown.stdout
    assert shown.stderr == "[]\n"


def test_without_a_command_the_help_is_shown() -> None:
    shown = gptsmith()
    assert "Usage: gptsmith [OPTIONS] COMMAND" in shown.stdout + shown.stderr


def test_an_unknown_command_is_a_line() -> None:
    shown = gptsmith("predicct")
    assert shown.returncode == 2
    assert "No such command 'predicct'" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_errors_end_as_those_of_scripts_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("the folder is empty")

    monkeypatch.setattr(app.app, "registered_commands", [])
    app.app.command("fail")(fail)
    for arguments, traceback in ([["fail"], False], [["--debug", "fail"], True]):
        monkeypatch.setattr(sys, "argv", ["gptsmith", *arguments])
        with pytest.raises(SystemExit) as left:
            app.main()
        assert left.value.code == 1
        said = capsys.readouterr().err
        assert said.endswith("error: the folder is empty\n")
        assert ("Traceback" in said) == traceback


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_had_for_a_shell(shell: str) -> None:
    shown = gptsmith(_GPTSMITH_COMPLETE=f"source_{shell}")
    assert shown.returncode == 0
    assert "_GPTSMITH_COMPLETE" in shown.stdout


def test_options_are_completed() -> None:
    shown = gptsmith(_GPTSMITH_COMPLETE="complete_bash", COMP_WORDS="gptsmith --ver", COMP_CWORD="1")
    assert shown.stdout.split() == ["--version"]
