"""The command `gptsmith`: one command a module beside this one, which are imported when their command is called for.

`gptsmith --help` and shell completion should be there at once, so a command's module imports nothing heavy (torch,
pandas, FastAPI) but in its function.
"""

import os
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from gptsmith.cli import chat, check, export, init, predict, progress, serve
from gptsmith.command import run

app = typer.Typer(
    name="gptsmith",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # gptsmith.command.run says how a command ends
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gptsmith {version('gptsmith')}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def gptsmith(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Begin with data of your own, and use the models that the pipeline makes."""
    # gptsmith.command.run looks for --debug itself: it has to know when no option was understood.


app.command("chat", epilog=chat.EXAMPLES)(chat.chat)
app.command("check", short_help="Say what a run will do, and how long it takes.", epilog=check.EXAMPLES)(check.check)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("init")(init.init)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("progress", short_help="Show how far runs are.", epilog=progress.EXAMPLES)(progress.progress)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)


def main() -> NoReturn:
    """The entry point."""
    # As in the pipeline's jobs: threads that wait by spinning took four times as long beside other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    run(app)
