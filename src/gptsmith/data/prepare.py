"""The stage that turns a raw file into a prepared dataset: read, clean, split, write.

Duplicates go before the split, so that nothing a model is tested on was in its training.

Texts pass through in batches. What is decided about all rows together (duplicates, splits) is decided on their
digests and labels, which memory holds: about 75 bytes a row at most (docs/performance.md).
"""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, Split, TextDataset
from gptsmith.data.cleaning import draw, undersample
from gptsmith.data.duplicates import (
    as_numbers,
    count_conflicts,
    count_overlaps,
    digests_of,
    find_equal_rows,
    first_occurrences,
)
from gptsmith.data.mechanical import Item, generate
from gptsmith.data.near_copies import dropped_near_copies, near_copies, near_copies_report, without_near_copies
from gptsmith.data.parts import count_left_out, count_rows, read_parts, write_part
from gptsmith.data.prepared import SCHEMAS, SPLITS, write_prepared
from gptsmith.data.splits import cut_document, stratified_split
from gptsmith.errors import UserError


@dataclass(frozen=True)
class Prepared:
    """The rows of the splits, which come as they are asked for, and what the report says about them."""

    splits: dict[str, Iterable[pa.RecordBatch]]
    contents: dict[str, dict[str, Any]]
    """By split, the number of rows, and how many have each label or category, or how many characters they have."""
    overlaps: dict[str, int]
    facts: dict[str, Any]
    """The rest of the report."""


def prepare(raw: Path, dataset: Dataset, seed: int, output: Path, test: Path | None = None) -> None:
    """Write the splits of the file `raw` and their report into the folder `output`; `test` is the file that the
    dataset's `test_sources` name.

    The same file, settings and seed give the same files. Raises UserError when the file is not as the
    settings say, or when a split or one of its classes would be left without rows.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=output.parent) as folder:
        part = Path(folder) / "rows.parquet"
        write_part(raw, dataset, part)
        prepare_parts(raw, [part], dataset, seed, output, test)


def prepare_parts(
    raw: Path, parts: Sequence[Path], dataset: Dataset, seed: int, output: Path, test: Path | None = None
) -> None:
    """What `prepare` does after reading: `parts` (gptsmith.data.parts) are the shards of `raw`, in order."""
    if test is None:
        _divide(raw, parts, dataset, seed, output, n_given=0)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=output.parent) as folder:
        part = Path(folder) / "test.parquet"
        write_part(test, dataset, part)
        # The test file comes first: of equal rows the first is kept, and that must be the one to test on.
        _divide(raw, [part, *parts], dataset, seed, output, n_given=count_rows([part]))


def _divide(raw: Path, parts: Sequence[Path], dataset: Dataset, seed: int, output: Path, n_given: int) -> None:
    """`n_given` rows, the first ones, are the test split, and no other row is in it."""
    generator = np.random.Generator(np.random.PCG64(seed))
    digests, left_out = _read_digests(parts), count_left_out(parts)
    if not len(digests):
        why = f": {_reasons(left_out)}" if left_out else ""
        raise UserError(f"{raw}: the file holds no rows that can be used{why}")
    match dataset:
        case ClassificationDataset():
            prepared = _prepare_classification(raw, parts, digests, dataset, n_given, generator)
        case InstructionDataset():
            items = list[tuple[str, Item]]()
            if (wanted := dataset.mechanical) is not None:
                drawn = generate(train=wanted.train, validation=wanted.validation, test=wanted.test, seed=seed)
                items = [(split, item) for split in SPLITS for item in drawn[split]]
            prepared = _prepare_instruction(parts, digests, dataset, items, n_given, generator)
        case TextDataset():
            prepared = _prepare_text(parts, digests, dataset, generator)
    for split in SPLITS:
        if getattr(dataset.split, split) and not prepared.contents[split]["rows"]:
            raise UserError(
                f"{raw}: nothing is left for the {split} split. Add rows (or lines, to a single document), "
                f"or set split.{split} to 0."
            )
    report = {
        "task": dataset.task,
        "rows": sum(content["rows"] for content in prepared.contents.values()),
        "rows_read": len(digests) + left_out.total(),
        **({"test_rows_read": n_given + count_left_out(parts[:1]).total()} if n_given else {}),
        **prepared.facts,
        "dropped": {**left_out, **prepared.facts["dropped"]},
        "splits": prepared.contents,
        "overlaps": prepared.overlaps,
    }
    write_prepared(output, prepared.splits, report)


def _reasons(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in left_out.items())


def _prepare_classification(
    raw: Path,
    parts: Sequence[Path],
    digests: np.ndarray,
    dataset: ClassificationDataset,
    n_given: int,
    generator: np.random.Generator,
) -> Prepared:
    found, codes = _read_names(parts, "label", len(digests))
    names = dataset.label_names or {label: label for label in found}
    for label in names:
        if label not in found:
            raise UserError(f"{raw}: no row has the label {label!r} that the dataset's labels list")
    classes = sorted(set(names.values()))
    if len(classes) == 1:
        raise UserError(f"{raw}: every row has the label {classes[0]!r}; a classifier needs two or more")
    labels = np.array([classes.index(names[label]) for label in found], np.int32)[codes]

    equal = find_equal_rows(digests)
    distinct = first_occurrences(equal) if dataset.deduplicate else np.arange(len(digests))
    sampled = _sampled(distinct, labels, dataset, n_given, generator)
    near = near_copies(parts, dataset, sampled, len(digests))
    different = without_near_copies(sampled, near, dataset, n_given)
    kept = different
    given, others = _apart(different, n_given)
    if dataset.balance == "undersample" and len(others):
        kept = np.concatenate([given, undersample(others, labels, generator)])
    assigned = _assigned(kept, labels, dataset.split, n_given, generator)

    counts = _counts(assigned, labels, classes)
    for label in classes:
        for split in SPLITS:
            share = getattr(dataset.split, split)
            if split == "test" and n_given:
                continue  # what a given test split has is not for us to say
            if share and not counts[split][label]:
                count = sum(counts[split][label] for split in SPLITS)
                raise UserError(
                    f"{raw}: label {label!r} has too few rows ({count}) to be in every split: none for {split} "
                    f"(share {share:g}).\nAdd rows of it, remove them all, or change the dataset's split."
                )
    in_file = dict(zip(classes, np.bincount(labels).tolist(), strict=True))
    return Prepared(
        splits={split: _renamed(batches, names) for split, batches in _divided(parts, dataset.task, assigned).items()},
        contents=_contents(counts, "labels"),
        overlaps=count_overlaps(equal, assigned),
        facts={
            "dropped": {
                "duplicate": len(digests) - len(distinct),
                **_dropped_by_sampling(distinct, sampled, dataset),
                **dropped_near_copies(sampled, different, dataset),
                "undersampled": len(different) - len(kept),
            },
            **near_copies_report(near, assigned),
            "labels": classes,
            "positive_label": _positive_label(raw, dataset.positive_label, counts["train"], in_file),
            "conflicting_labels": count_conflicts(equal, labels),
        },
    )


def _positive_label(raw: Path, wanted: str | None, train: Mapping[str, int], file: Mapping[str, int]) -> str | None:
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
    parts: Sequence[Path],
    digests: np.ndarray,
    dataset: InstructionDataset,
    items: Sequence[tuple[str, Item]],
    n_given: int,
    generator: np.random.Generator,
) -> Prepared:
    """`items` are generated questions with their splits: they follow the file's rows, without those that it has."""
    equal = find_equal_rows(np.concatenate([digests, digests_of((item.instruction, item.input) for _, item in items)]))
    first = first_occurrences(equal)
    distinct = first[first < len(digests)] if dataset.deduplicate else np.arange(len(digests))
    fresh = [items[row - len(digests)] for row in first[first >= len(digests)]]
    found, codes = _read_names(parts, "category", len(digests))
    names = sorted(found)
    categories = np.array([names.index(name) for name in found], np.int32)[codes]
    sampled = _sampled(distinct, categories, dataset, n_given, generator)
    near = near_copies(parts, dataset, sampled, len(digests), [item for _, item in fresh])
    kept = without_near_copies(sampled, near, dataset, n_given)
    assigned = _assigned(kept, categories, dataset.split, n_given, generator)
    generated = np.array([SPLITS.index(split) for split, _ in fresh], assigned.dtype)
    if near is not None and dataset.near_duplicates == "remove":
        generated[near[len(digests) :] >= 0] = -1

    counts = _counts(assigned, categories, names)
    splits = _divided(parts, dataset.task, assigned)
    for number, split in enumerate(SPLITS):
        added: list[dict[str, Any]] = [
            {"id": len(digests) + place, **asdict(fresh[place][1])}
            for place in np.flatnonzero(generated == number).tolist()
        ]
        counts[split] += Counter(row["category"] for row in added)
        splits[split] = itertools.chain(splits[split], [pa.RecordBatch.from_pylist(added, SCHEMAS[dataset.task])])
    facts: dict[str, Any] = {
        "dropped": {
            "duplicate": len(digests) - len(distinct),
            **_dropped_by_sampling(distinct, sampled, dataset),
            **dropped_near_copies(sampled, kept, dataset),
        },
        **near_copies_report(near, np.concatenate([assigned, generated])),
    }
    if dataset.mechanical is not None:
        facts["generated"] = int(np.count_nonzero(generated >= 0))
        facts["dropped"]["generated_duplicate"] = len(items) - len(fresh)
        if dataset.near_duplicates == "remove":
            facts["dropped"]["generated_near_duplicate"] = len(fresh) - facts["generated"]
    return Prepared(
        splits,
        contents=_contents(counts, "categories"),
        # What was generated is in no split twice, and nowhere if the file has it.
        overlaps=count_overlaps(find_equal_rows(digests), assigned),
        facts=facts,
    )


def _prepare_text(
    parts: Sequence[Path], digests: np.ndarray, dataset: TextDataset, generator: np.random.Generator
) -> Prepared:
    equal = find_equal_rows(digests)
    kept = first_occurrences(equal) if dataset.deduplicate else np.arange(len(digests))
    facts = {"dropped": {"duplicate": len(digests) - len(kept)}}
    if len(kept) == 1:
        return _prepare_document(parts, dataset, facts)
    assigned = stratified_split(kept, np.zeros(len(digests), np.int8), dataset.split, generator)
    characters = dict.fromkeys(SPLITS, 0)
    for split, batches in _divided(parts, dataset.task, assigned).items():
        for batch in batches:
            characters[split] += pc.sum(pc.utf8_length(batch["text"])).as_py()
    return Prepared(
        _divided(parts, dataset.task, assigned),
        contents={
            split: {"rows": int(np.count_nonzero(assigned == number)), "characters": characters[split]}
            for number, split in enumerate(SPLITS)
        },
        overlaps=count_overlaps(equal, assigned),
        facts=facts,
    )


def _prepare_document(parts: Sequence[Path], dataset: TextDataset, facts: dict[str, Any]) -> Prepared:
    """The only text is cut; it is in memory whole, as it will be when it is tokenized."""
    document = next(read_parts(parts, ["text"]))["text"][0].as_py()
    texts = {split: [text] if text.strip() else [] for split, text in cut_document(document, dataset.split).items()}
    return Prepared(
        splits={
            split: [pa.record_batch([[number] * len(texts[split]), texts[split]], schema=SCHEMAS["text"])]
            for number, split in enumerate(SPLITS)
        },
        contents={split: {"rows": len(texts[split]), "characters": sum(map(len, texts[split]))} for split in SPLITS},
        overlaps={f"{one}/{two}": len({*texts[one]} & {*texts[two]}) for one, two in combinations(SPLITS, 2)},
        facts=facts,
    )


def _sampled(
    rows: np.ndarray,
    strata: np.ndarray,
    dataset: ClassificationDataset | InstructionDataset,
    n_given: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Those that are drawn for the dataset's `sample`: the same part of a given test split and of the other rows."""
    if dataset.sample == 1:
        return rows
    return np.concatenate([draw(some, strata, dataset.sample, generator) for some in _apart(rows, n_given)])


def _dropped_by_sampling(
    before: np.ndarray, after: np.ndarray, dataset: ClassificationDataset | InstructionDataset
) -> dict[str, int]:
    return {"not_drawn": len(before) - len(after)} if dataset.sample < 1 else {}


def _apart(rows: np.ndarray, n_given: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of `rows` (ascending) that are the given test split, and the others."""
    at = int(np.searchsorted(rows, n_given))
    return rows[:at], rows[at:]


def _assigned(
    kept: np.ndarray, strata: np.ndarray, split: Split, n_given: int, generator: np.random.Generator
) -> np.ndarray:
    """As `stratified_split`; a given test split is as it is, and the shares of the two others divide the rest."""
    if not n_given:
        return stratified_split(kept, strata, split, generator)
    given, others = _apart(kept, n_given)
    # Shares count as parts of their sum.
    assigned = stratified_split(others, strata, split.model_copy(update={"test": 0.0}), generator)
    assigned[given] = SPLITS.index("test")
    return assigned


def _read_digests(parts: Sequence[Path]) -> np.ndarray:
    """(rows, 2) uint64."""
    digests = np.empty((count_rows(parts), 2), np.uint64)
    end = 0
    for batch in read_parts(parts, ["digest"]):
        start, end = end, end + len(batch)
        digests[start:end] = as_numbers(batch["digest"])
    return digests


def _read_names(parts: Sequence[Path], column: str, count: int) -> tuple[list[str], np.ndarray]:
    """The different values of a column, in the order found, and (rows,) int32: which of them each row has."""
    numbers: dict[str, int] = {}
    codes = np.empty(count, np.int32)
    end = 0
    for batch in read_parts(parts, [column]):
        start, end = end, end + len(batch)
        encoded = batch[column].dictionary_encode()
        known = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
        codes[start:end] = np.array(known, np.int32)[encoded.indices.to_numpy()]
    return list(numbers), codes


def _divided(parts: Sequence[Path], task: str, assigned: np.ndarray) -> dict[str, Iterable[pa.RecordBatch]]:
    """The rows of each split, under the numbers that they have in the file."""
    return {split: _rows_of_split(parts, task, assigned == number) for number, split in enumerate(SPLITS)}


def _rows_of_split(parts: Sequence[Path], task: str, chosen: np.ndarray) -> Iterator[pa.RecordBatch]:
    schema = SCHEMAS[task]
    end = 0
    for batch in read_parts(parts, schema.names[1:]):
        start, end = end, end + len(batch)
        rows = pa.array(np.flatnonzero(chosen[start:end]))
        if len(rows):
            yield pa.record_batch([pc.add(rows, start), *batch.take(rows).columns], schema=schema)


def _renamed(batches: Iterable[pa.RecordBatch], names: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """With the labels that `names` gives to those of the file."""
    for batch in batches:
        labels = pa.array([names[label] for label in batch["label"].to_pylist()], pa.string())
        yield batch.set_column(batch.schema.get_field_index("label"), "label", labels)


def _counts(assigned: np.ndarray, codes: np.ndarray, names: Sequence[str]) -> dict[str, Counter[str]]:
    """How many rows of each of `names`, which `codes` (rows,) are indices of, every split has."""
    return {
        split: Counter(
            dict(zip(names, np.bincount(codes[assigned == number], minlength=len(names)).tolist(), strict=True))
        )
        for number, split in enumerate(SPLITS)
    }


def _contents(counts: Mapping[str, Counter[str]], heading: str) -> dict[str, dict[str, Any]]:
    """Rows of each split, and how many of each label or category that is in any."""
    values = sorted(set().union(*(+count for count in counts.values())))
    return {
        split: {"rows": counts[split].total(), heading: {value: counts[split][value] for value in values}}
        for split in SPLITS
    }
