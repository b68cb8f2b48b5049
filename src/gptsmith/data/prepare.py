"""The stage that turns a raw file into a prepared dataset: read, clean, split, write.

Duplicates go before the split, so that nothing a model is tested on was in its training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data.cleaning import (
    clean_column,
    count_conflicts,
    filled_column,
    first_occurrences,
    label_column,
    undersample,
)
from gptsmith.data.mechanical import Item, generate
from gptsmith.data.prepared import SCHEMAS, SPLITS, write_prepared
from gptsmith.data.readers import read_rows
from gptsmith.data.splits import cut_document, stratified_split
from gptsmith.errors import UserError

Tables = dict[str, pa.Table]  # by split
Facts = dict[str, Any]  # what the report says beyond the contents of the tables


def prepare(raw: Path, dataset: Dataset, seed: int, output: Path) -> None:
    """Write the splits of the file `raw` and their report into the folder `output`.

    The same file, settings and seed give the same rows. Raises UserError when the file is not as the
    settings say, or when a split or one of its classes would be left without rows.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    match dataset:
        case ClassificationDataset():
            tables, facts = _prepare_classification(raw, dataset, generator)
        case InstructionDataset():
            tables, facts = _prepare_instruction(raw, dataset, generator)
            if dataset.mechanical is not None:
                wanted = dataset.mechanical
                items = generate(train=wanted.train, validation=wanted.validation, test=wanted.test, seed=seed)
                _append_generated(tables, facts, items)
        case TextDataset():
            tables, facts = _prepare_text(raw, dataset, generator)
    for split in SPLITS:
        if getattr(dataset.split, split) and not tables[split].num_rows:
            raise UserError(
                f"{raw}: nothing is left for the {split} split. Add rows (or lines, to a single document), "
                f"or set split.{split} to 0."
            )
    report = {
        "task": dataset.task,
        "rows": sum(table.num_rows for table in tables.values()),
        **facts,
        "splits": _contents(tables),
        "overlaps": _overlaps(tables),
    }
    write_prepared(output, tables, report)


def _prepare_classification(
    raw: Path, dataset: ClassificationDataset, generator: np.random.Generator
) -> tuple[Tables, Facts]:
    rows = read_rows(raw, dataset.format, [dataset.text, dataset.label])
    texts = filled_column(rows, dataset.text)
    labels = label_column(rows, dataset.label, dataset.label_names)
    distinct = first_occurrences(texts) if dataset.deduplicate else list(range(len(rows)))
    kept = undersample(distinct, labels, generator) if dataset.balance == "undersample" else distinct
    parts = stratified_split(kept, labels, dataset.split, generator)

    classes = sorted(set(labels))
    counts = {split: Counter(labels[row] for row in part) for split, part in parts.items()}
    for label in classes:
        for split in SPLITS:
            share = getattr(dataset.split, split)
            if share and not counts[split][label]:
                count = sum(counts[split][label] for split in SPLITS)
                raise UserError(
                    f"{raw}: label {label!r} has too few rows ({count}) to be in every split: none for {split} "
                    f"(share {share:g}).\nAdd rows of it, remove them all, or change the dataset's split."
                )
    columns = {"text": texts, "label": labels}
    return _tables("classification", columns, parts), {
        "rows_read": len(rows),
        "dropped": {"duplicate": len(rows) - len(distinct), "undersampled": len(distinct) - len(kept)},
        "labels": classes,
        "positive_label": _positive_label(raw, dataset.positive_label, counts["train"], Counter(labels)),
        "conflicting_labels": count_conflicts(texts, labels),
    }


def _positive_label(raw: Path, wanted: str | None, train: Counter[str], file: Counter[str]) -> str | None:
    """The class that a two-class set's metrics are about; None when there are more classes.

    When not given: the rarer in the training split; of a balanced set the rarer in the file, or else the
    last by name.
    """
    if wanted is not None and wanted not in file:
        raise UserError(f"{raw}: no row has the label {wanted!r} that the dataset's positive_label names")
    if wanted is not None and len(file) > 2:
        raise UserError(f"positive_label: meant for two classes, but {raw} has {len(file)}. Leave it out.")
    if wanted is not None or len(file) > 2:
        return wanted
    return min(sorted(file, reverse=True), key=lambda label: (train[label], file[label]))


def _prepare_instruction(
    raw: Path, dataset: InstructionDataset, generator: np.random.Generator
) -> tuple[Tables, Facts]:
    optional = [column for column in (dataset.input, dataset.category) if column is not None]
    rows = read_rows(raw, dataset.format, [dataset.instruction, dataset.output, *optional])
    absent = [""] * len(rows)
    columns = {
        "instruction": filled_column(rows, dataset.instruction),
        "input": absent if dataset.input is None else clean_column(rows, dataset.input),
        "output": filled_column(rows, dataset.output),
        "category": absent if dataset.category is None else clean_column(rows, dataset.category),
    }
    questions = list(zip(columns["instruction"], columns["input"], strict=True))
    kept = first_occurrences(questions) if dataset.deduplicate else list(range(len(rows)))
    parts = stratified_split(kept, columns["category"], dataset.split, generator)
    facts = {"rows_read": len(rows), "dropped": {"duplicate": len(rows) - len(kept)}}
    return _tables("instruction", columns, parts), facts


def _append_generated(tables: Tables, facts: Facts, items: Mapping[str, Sequence[Item]]) -> None:
    """Append the items to the splits, without those whose question the file has in any split."""
    questions = set().union(*(_distinct_contents(table) for table in tables.values()))
    next_id = facts["rows_read"]
    for split in SPLITS:
        fresh = [item for item in items[split] if (item.instruction, item.input) not in questions]
        columns = {name: [getattr(item, name) for item in fresh] for name in SCHEMAS["instruction"].names[1:]}
        ids = range(next_id, next_id + len(fresh))
        generated = pa.table({"id": ids, **columns}, schema=SCHEMAS["instruction"])
        tables[split] = pa.concat_tables([tables[split], generated])
        next_id += len(fresh)
    facts["generated"] = next_id - facts["rows_read"]
    facts["dropped"]["generated_duplicate"] = sum(map(len, items.values())) - facts["generated"]


def _prepare_text(raw: Path, dataset: TextDataset, generator: np.random.Generator) -> tuple[Tables, Facts]:
    rows = read_rows(raw, dataset.format, [dataset.text])
    texts = filled_column(rows, dataset.text)
    kept = first_occurrences(texts) if dataset.deduplicate else list(range(len(rows)))
    facts = {"rows_read": len(rows), "dropped": {"duplicate": len(rows) - len(kept)}}
    if len(kept) == 1:
        texts = list(cut_document(texts[0], dataset.split).values())
        parts = {split: [piece] if texts[piece].strip() else [] for piece, split in enumerate(SPLITS)}
    else:
        parts = stratified_split(kept, [""] * len(rows), dataset.split, generator)
    return _tables("text", {"text": texts}, parts), facts


def _tables(task: str, columns: Mapping[str, Sequence[str]], parts: Mapping[str, Sequence[int]]) -> Tables:
    ids = range(len(next(iter(columns.values()))))
    table = pa.table({"id": ids, **columns}, schema=SCHEMAS[task])
    return {split: table.take(pa.array(parts[split], pa.int64())) for split in SPLITS}


def _contents(tables: Tables) -> dict[str, dict[str, Any]]:
    """Rows of each split, and how many of each label or category, or how many characters."""
    names = tables["train"].schema.names
    if "label" in names:
        details = _counts(tables, "label", "labels")
    elif "category" in names:
        details = _counts(tables, "category", "categories")
    else:
        details = {split: {"characters": sum(map(len, tables[split]["text"].to_pylist()))} for split in SPLITS}
    return {split: {"rows": tables[split].num_rows, **details[split]} for split in SPLITS}


def _counts(tables: Tables, column: str, heading: str) -> dict[str, dict[str, Any]]:
    counts = {split: Counter(tables[split][column].to_pylist()) for split in SPLITS}
    values = sorted(set().union(*counts.values()))
    return {split: {heading: {value: counts[split][value] for value in values}} for split in SPLITS}


def _overlaps(tables: Tables) -> dict[str, int]:
    """Number of distinct texts or questions that each pair of splits shares."""
    distinct = {split: _distinct_contents(table) for split, table in tables.items()}
    return {f"{first}/{second}": len(distinct[first] & distinct[second]) for first, second in combinations(SPLITS, 2)}


def _distinct_contents(table: pa.Table) -> set[tuple[str, ...]]:
    """What a model is given in each row: the text, or instruction and input."""
    names = [name for name in ("text", "instruction", "input") if name in table.schema.names]
    return set(zip(*(table[name].to_pylist() for name in names), strict=True))
