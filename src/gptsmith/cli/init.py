"""`gptsmith init`: from a file of yours to a config that runs."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gptsmith.errors import UserError
from gptsmith.files import write_text


def init(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, JSON Lines or Parquet.")],
    text: Annotated[list[str] | None, typer.Option(help="Column with the text to classify; may be repeated.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with its class.")] = None,
    instruction: Annotated[str | None, typer.Option(help="Column with the question or instruction.")] = None,
    input_: Annotated[str | None, typer.Option("--input", help="Column with what the instruction is about.")] = None,
    answer: Annotated[str | None, typer.Option(help="Column with the wanted answer.")] = None,
    category: Annotated[str | None, typer.Option(help="Column with the kind of instruction.")] = None,
    messages: Annotated[str | None, typer.Option(help="Column with conversations: [{role, content}, ...].")] = None,
    test: Annotated[Path | None, typer.Option(help="File with the rows to test on; else some of the first.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the dataset and its results; else that of the file.")] = None,
    output: Annotated[Path | None, typer.Option(help="Config to write; else <name>.yaml.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The choices as JSON on standard output, all words on standard error.")
    ] = False,
) -> None:
    """Look at a file and write a config for it. Columns that can only be meant one way need not be named.

    \b
    Examples:
      gptsmith init messages.csv --text body --label category
      gptsmith init messages.csv --json | jq --raw-output .config
    """
    # They import pyarrow and the like, for which `gptsmith --help` need not wait.
    from gptsmith.inspection.findings import findings
    from gptsmith.inspection.new_config import name_for, new_config
    from gptsmith.inspection.roles import Wanted, choose_roles
    from gptsmith.inspection.table import look_at

    name = name_for(file) if name is None else name
    output = Path(f"{name}.yaml") if output is None else output
    if output.exists():
        raise UserError(f"{output}: is there already, and is not overwritten. Name another one: --output FILE")
    table = look_at(file)
    told = sys.stderr if as_json else sys.stdout
    print(*findings(table), sep="\n", file=told)
    roles = choose_roles(table, Wanted(text or (), label, instruction, input_, answer, category, messages))
    print(*(f"guessed: {line}" for line in roles.guessed), sep="\n", end="\n" if roles.guessed else "", file=told)
    config = new_config(table, roles, None if test is None else look_at(test), name, output)
    write_text(output, config)
    print(
        f"written: {output}",
        f"how long it takes:  gptsmith check {output}",
        f"run it:             snakemake --cores 2 --configfile {output}",
        sep="\n",
        file=told,
    )
    if as_json:
        print(json.dumps({"config": str(output), "rows": table.all_rows, "columns": asdict(roles)}, ensure_ascii=False))
