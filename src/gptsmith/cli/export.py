"""`gptsmith export`: a model for transformers, and for others."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gptsmith.cli.options import Checkpoint

EXAMPLES = """
\b
Examples:
  gptsmith export checkpoints/finetuned/starter/spam/seed-1 exported/spam
  gptsmith export checkpoints/finetuned/starter/spam/seed-1 exported/spam --json | jq --raw-output '.files[]'
  python -c 'from transformers import pipeline; print(pipeline("text-classification", "exported/spam")("win a prize"))'
"""


def export(
    checkpoint: Checkpoint,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.", show_default=False)],
    results: Annotated[
        Path | None,
        typer.Option(
            help="The run's summary.json, for the model card. Left out, results/NAME/RUN/summary.json beside "
            "checkpoints/finetuned/NAME/RUN/seed-N.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names in DIR.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")] = False,
) -> None:
    """Write a model as a folder in Hugging Face layout.

    It holds the weights (safetensors), the tokenizer, the chat template and a model card; transformers' pipelines
    load it as it is.
    """
    # torch takes seconds to import, which --help should not.
    from gptsmith.checkpoint.export import export_checkpoint

    summary = results or _summary_of(checkpoint)
    export_checkpoint(checkpoint, folder, summary, force)
    if as_json:
        files = sorted(path.name for path in folder.iterdir())
        print(json.dumps({"folder": str(folder), "files": files, "results": str(summary) if summary else None}))
        return
    print(f"{folder}: written{f', with the results of {summary}' if summary else ''}")


def _summary_of(checkpoint: Path) -> Path | None:
    match checkpoint.resolve().parts:
        case (*root, "checkpoints", "finetuned", name, run, _):
            summary = Path(*root, "results", name, run, "summary.json")
            return summary if summary.is_file() else None
    return None
