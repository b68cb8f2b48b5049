"""Arguments that several commands have."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Folder of a fine-tuned model: checkpoints/finetuned/NAME/RUN/seed-N.",
        show_default=False,
        file_okay=False,
        exists=True,
    ),
]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where the model runs.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Prompt = Annotated[
    Literal["alpaca", "compact"] | None,
    typer.Option(help="Wording around a message; the one of the fine-tuning when left out."),
]

ALL_CORES = os.cpu_count() or 1
