"""`gptsmith predict`: labels for texts."""

import json
import math
import sys
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gptsmith.cli.options import ALL_CORES, Checkpoint, Device, Threads
from gptsmith.cli.terminal import printable_line
from gptsmith.errors import UserError

if TYPE_CHECKING:
    from gptsmith.generation.texts import TextClassifier

EXAMPLES = """
\b
Examples:
  gptsmith predict checkpoints/finetuned/starter/spam/seed-1 "win a prize now" "see you at six"
  gptsmith predict CHECKPOINT --file messages.csv --text body > predictions.jsonl
  cat messages.txt | gptsmith predict CHECKPOINT
  gptsmith predict CHECKPOINT --threshold spam=0.3 "win a prize now"
"""


def predict(
    checkpoint: Checkpoint,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to label.", show_default=False)] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Texts in a file: .txt (one a line), .csv, .tsv, .json, .jsonl, .parquet."),
    ] = None,
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    delimiter: Annotated[
        str | None, typer.Option(help="Separator of a .csv or .tsv; a comma or the tab when left out.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the file or of standard input.")] = "utf-8",
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines on a terminal, too.")] = False,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL=P",
            help="Answer LABEL where its probability is at least P, the most probable other label elsewhere.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = ALL_CORES,
) -> None:
    """Label texts with a fine-tuned classifier.

    Texts are arguments, in a file, or the lines of standard input. A terminal shows a table; otherwise each text
    gives a line of JSON with its label and the probability of every label. Texts are read as far as in training.
    """
    if texts and file:
        raise UserError("texts as arguments and --file: give one of them")

    # torch takes seconds to import, which --help should not.
    from gptsmith.generation.texts import classify_texts, load_text_classifier
    from gptsmith.training.compute import choose_compute

    batches = _batches(texts, file, text, delimiter, encoding)
    first = next(batches, None)  # what cannot be read is said before a model is loaded
    if first is None:
        raise UserError("no texts: the input is empty")
    classifier = load_text_classifier(checkpoint, choose_compute(device, "auto", threads))
    cut = _threshold(threshold, classifier.labels)
    write = _json_lines if as_json or not sys.stdout.isatty() else _table
    n_texts = n_cut = 0
    for batch in chain([first], batches):
        result = classify_texts(classifier, batch)
        probabilities = result.probabilities.tolist()
        write(classifier, batch, probabilities, [_answer(row, cut) for row in probabilities], n_texts == 0)
        n_texts += len(batch)
        n_cut += int((result.n_tokens > classifier.max_length).sum())
    if n_cut:
        print(
            f"{n_cut:,} of {n_texts:,} texts are longer than {classifier.max_length} tokens and were read only that "
            "far, as in training",
            file=sys.stderr,
        )


def _batches(
    texts: list[str] | None, file: Path | None, column: str, delimiter: str | None, encoding: str
) -> Iterator[list[str]]:
    from gptsmith.data.texts import texts_in_file, texts_in_lines

    if texts:
        return iter([texts])
    if file is not None:
        return texts_in_file(file, column, delimiter, encoding)
    if sys.stdin.isatty():
        print("Reading texts, one a line; Ctrl-D ends.", file=sys.stderr)
    return texts_in_lines(cast(BufferedReader, sys.stdin.buffer), "standard input", encoding)


def _threshold(given: str | None, labels: list[str]) -> tuple[int, float] | None:
    """The place of the label, and from which probability on it is answered."""
    if given is None:
        return None
    label, _, number = given.rpartition("=")
    try:
        least = float(number)
    except ValueError:
        least = math.nan
    if label not in labels or not 0 <= least <= 1:
        raise UserError(f"--threshold {given}: LABEL=P, with a number from 0 to 1 and a label of {', '.join(labels)}")
    return labels.index(label), least


def _answer(probabilities: list[float], cut: tuple[int, float] | None) -> int:
    """The place of the label that is answered."""
    places = range(len(probabilities))
    if cut is None:
        return max(places, key=probabilities.__getitem__)
    place, least = cut
    if probabilities[place] >= least:
        return place
    return max((other for other in places if other != place), key=probabilities.__getitem__)


def _json_lines(
    classifier: "TextClassifier", texts: list[str], probabilities: list[list[float]], answers: list[int], _first: bool
) -> None:
    lines = []
    for text, row, answer in zip(texts, probabilities, answers, strict=True):
        by_label = dict(zip(classifier.labels, row, strict=True))
        line = {"text": text, "label": classifier.labels[answer], "probabilities": by_label}
        lines.append(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.write("".join(lines))


def _table(
    classifier: "TextClassifier", texts: list[str], probabilities: list[list[float]], answers: list[int], first: bool
) -> None:
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console

    console: Console = Console()
    labels = [printable_line(label) for label in classifier.labels]
    width = max(map(cell_len, [*labels, "label"]))
    if first:
        print(f"{set_cell_size('label', width)}  probability  text")
    room = max(console.width - width - 15, 10)
    for text, row, answer in zip(texts, probabilities, answers, strict=True):
        shown = printable_line(text)
        if cell_len(shown) > room:
            shown = set_cell_size(shown, room - 1) + "…"
        print(f"{set_cell_size(labels[answer], width)}  {row[answer]:11.3f}  {shown}")
