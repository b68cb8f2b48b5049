"""The config that `gptsmith init` writes: complete, with comments that say why a value is what it is."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from gptsmith.config.load import load_config
from gptsmith.data.conversations import NoExchangeError, first_exchange
from gptsmith.data.readers import read_rows
from gptsmith.errors import UserError
from gptsmith.inspection.beginnings import Beginning, Measured, for_classification, for_instructions, measure
from gptsmith.inspection.roles import CLASSES_SHOWN, Classification, Conversations, Instructions, Roles, shorten
from gptsmith.inspection.table import Table

# The revision that config/gpt2-small.yaml has as well (a test compares them).
GPT2 = {
    "repo": "openai-community/gpt2",
    "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "weights": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    "vocab": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}

FEWEST_OF_A_CLASS = 5
"""Of a class in the file, so that training, validation and test each get one."""
MOST_IMBALANCE = 5
"""How many times the rows of the rarest class the largest may have before rare ones count more."""
MOST_COMPARED = 200_000
"""Rows up to which near-duplicates are looked for: a minute, and less than two gigabytes."""
# A model of this size gains nothing from more than one thread, but for long texts.
THREADS = 1


def name_for(path: Path) -> str:
    """A name that a config takes, from that of the file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._").lower() or "data"


def new_config(table: Table, roles: Roles, test: Table | None, name: str, output: Path) -> str:
    """YAML; `test` is a file with the test split. Raises UserError when the data cannot be used as it is."""
    if test is not None:
        _check_alike(table, test, roles)
    task = "classification" if isinstance(roles, Classification) else "instruction"
    classes = table.columns[roles.label].counts or {} if isinstance(roles, Classification) else {}
    classes = {label: count for label, count in classes.items() if label}
    split = _split(table, roles)
    measured = measure(_texts(table, roles), table.all_rows)
    begin = _begin(table, roles, measured, split["train"])
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 (YAML)
    environment.filters["yaml"] = _flow
    template = (Path(__file__).parent / "config.yaml.jinja").read_text(encoding="utf-8")
    text = environment.from_string(template).render(
        file=" ".join(str(table.path).split()),
        about=f"{counted(table)} rows",
        output=output,
        name=name,
        task=task,
        path=str(table.path),
        test=None if test is None else str(test.path),
        format=table.format.model_dump(exclude_defaults=True),
        roles=roles,
        classes=_classes(classes),
        labels=sorted(classes),
        numbered=bool(classes) and all(label.isdecimal() for label in classes),
        positive_label=min(classes, key=lambda label: (classes[label], label)) if len(classes) == 2 else None,
        imbalanced=bool(classes) and max(classes.values()) > MOST_IMBALANCE * min(classes.values()),
        split=split,
        incomplete=_incomplete(table, roles),
        duplicates=duplicates(table, roles),
        few=table.all_rows <= MOST_COMPARED,
        rows=counted(table),
        lengths=_lengths(measured),
        begin=begin,
        gpt2=GPT2,
        threads=THREADS,
    )
    load_config(yaml.safe_load(text))
    return text


def _needed(roles: Roles) -> list[list[str]]:
    """Groups of columns, of each of which a row has to have something."""
    match roles:
        case Classification():
            return [roles.text, [roles.label]]
        case Instructions():
            return [[roles.instruction], [roles.answer]]
        case Conversations():
            return [[roles.messages]]


def _incomplete(table: Table, roles: Roles) -> int:
    """Rows looked at that lack what they need."""
    lacking = np.zeros(table.rows, bool)
    for columns in _needed(roles):
        lacking |= table.sizes(columns) == 0
    return int(np.count_nonzero(lacking))


def _check_alike(table: Table, test: Table, roles: Roles) -> None:
    if test.format != table.format:
        one, other = (_flow(one.format.model_dump(exclude_defaults=True)) for one in (test, table))
        raise UserError(f"{test.path}: {one}, but {table.path} is {other}. Save both in the same format.")
    for column in (*roles.read, *([roles.label] if isinstance(roles, Classification) else [])):
        if column not in test.columns:
            raise UserError(f"{test.path}: no column {column!r}, which {table.path} has.")


def counted(table: Table) -> str:
    return f"{table.rows:,}" if table.is_whole else f"about {table.all_rows:,}"


def duplicates(table: Table, roles: Roles) -> str:
    """How many rows the dataset's `deduplicate` drops."""
    asked = roles.read if isinstance(roles, Classification) else _question(roles)
    return f"{table.duplicates(asked):,} of {table.rows:,} rows repeat an earlier one"


def _question(roles: Any) -> list[str]:
    names = [getattr(roles, role, None) for role in ("instruction", "input", "messages")]
    return [name for name in names if name is not None]


def _split(table: Table, roles: Roles) -> dict[str, float]:
    """Shares that give each split some of each class. Raises UserError where none do."""
    if not isinstance(roles, Classification):
        return _split_of_instructions(table, table.rows - table.duplicates(_question(roles)))
    # What repeats an earlier text is dropped before the split.
    classes = table.counts_of_distinct(roles.text, roles.label)
    rare = [label for label, count in classes.items() if count < FEWEST_OF_A_CLASS]
    if rare and table.is_whole:
        shown = ", ".join(f"{shorten(label)} ({classes[label]})" for label in rare[:CLASSES_SHOWN])
        raise UserError(
            f"{table.path}: classes of fewer than {FEWEST_OF_A_CLASS} different texts cannot be in training, "
            f"validation and test: {shown}.\nAdd rows of them, remove them, or give them another label."
        )
    if min(classes.values()) < 4 * FEWEST_OF_A_CLASS:
        return {"train": 0.6, "validation": 0.2, "test": 0.2}
    return {"train": 0.7, "validation": 0.1, "test": 0.2}


def _split_of_instructions(table: Table, questions: int) -> dict[str, float]:
    if questions < FEWEST_OF_A_CLASS and table.is_whole:
        raise UserError(f"{table.path}: {questions} different questions are too few; {FEWEST_OF_A_CLASS} at least.")
    if questions < 4 * FEWEST_OF_A_CLASS:
        return {"train": 0.6, "validation": 0.2, "test": 0.2}
    return {"train": 0.85, "validation": 0.05, "test": 0.1}


def _texts(table: Table, roles: Roles) -> Iterator[str]:
    """What a model reads and writes of each row."""
    # The label is read along, so that one that is no text is told here.
    columns = list(dict.fromkeys([*roles.read, *_needed(roles)[-1]]))
    nested = roles.read if isinstance(roles, Conversations) else []
    found = False
    for rows in read_rows(table.path, table.format, columns, nested=nested):
        for row, values in enumerate(zip(*(rows.columns[column] for column in roles.read), strict=True)):
            try:
                text = "\n".join(first_exchange(values[0]) if isinstance(roles, Conversations) else values)
            except NoExchangeError:
                continue
            except ValueError as error:
                raise UserError(
                    f"{rows.place(row)}, column {roles.read[0]!r}: {error}. Mend or remove the row."
                ) from error
            found = True
            yield text
    if not found:
        raise UserError(
            f"{table.path}: no conversation has a question and an answer. The roles 'user' and 'assistant' are read, "
            "or 'human' and 'gpt'."
        )


def _begin(table: Table, roles: Roles, measured: Measured, train_share: float) -> Beginning:
    if isinstance(roles, Classification):
        return for_classification(measured, table.all_rows, train_share)
    answers = table.sizes([roles.read[-1]])
    share = sorted(answers)[int(0.95 * (len(answers) - 1))] / max(1, table.sizes(roles.read).mean())
    return for_instructions(measured, max(8, round(share * measured.mean)), table.all_rows, train_share)


def _classes(classes: Mapping[str, int]) -> str:
    shown = [f"{shorten(label)} {count:,}" for label, count in list(classes.items())[:CLASSES_SHOWN]]
    return f"{len(classes)} classes: " + ", ".join(shown) + (", ..." if len(classes) > CLASSES_SHOWN else "")


def _lengths(measured: Measured) -> str:
    return (
        f"A row has {measured.mean:.0f} tokens on average; 95 of 100 have at most {measured.common:,}, "
        f"the longest has {measured.longest:,}."
    )


def _flow(value: Any) -> str:
    """On one line, with quotation marks where YAML needs them."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
