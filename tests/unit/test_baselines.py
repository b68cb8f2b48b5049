"""Baselines on small datasets where the right answer is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptsmith.data.prepared import SCHEMAS, write_prepared
from gptsmith.errors import UserError
from gptsmith.evaluation.baselines import classification_baselines, instruction_baselines


def prepare(
    folder: Path, task: str, columns: list[str], report: dict[str, Any], **splits: Sequence[tuple[str, ...]]
) -> Path:
    tables, start = {}, 0
    for split in ("train", "validation", "test"):
        frame = pd.DataFrame(splits.get(split, []), columns=columns)
        frame.insert(0, "id", range(start, start + len(frame)))
        tables[split] = pa.Table.from_pandas(frame, schema=SCHEMAS[task], preserve_index=False)
        start += len(frame)
    write_prepared(folder, {split: table.to_batches() for split, table in tables.items()}, {"task": task} | report)
    return folder


def prepare_messages(folder: Path, labels: list[str], **splits: Sequence[tuple[str, ...]]) -> Path:
    return prepare(folder, "classification", ["text", "label"], {"labels": labels}, **splits)


def prepare_questions(folder: Path, **splits: Sequence[tuple[str, ...]]) -> Path:
    return prepare(folder, "instruction", ["instruction", "input", "output", "category"], {}, **splits)


HAM = [(f"see you at {place} tonight", "ham") for place in ("home", "work", "school", "church", "lunch", "dinner")]
SPAM = [(f"win a {prize} now!", "spam") for prize in ("car", "house", "prize")]


def test_classification_baselines(tmp_path: Path) -> None:
    test = [("see you at breakfast tonight", "ham"), ("win a boat now!", "spam")]
    prepared = prepare_messages(tmp_path, ["ham", "other", "spam"], train=HAM + SPAM, validation=SPAM * 9, test=test)
    classification_baselines(prepared, tmp_path / "baselines.parquet")
    table = pq.read_table(tmp_path / "baselines.parquet")
    assert table.schema.names == [
        *("baseline", "id", "label", "prediction"),
        *("probability_ham", "probability_other", "probability_spam"),
    ]
    assert table.schema.field("id").type == pa.int64()
    rows = table.to_pandas()
    assert list(rows["id"]) == [36, 37] * 2
    assert list(rows["label"]) == ["ham", "spam"] * 2
    majority, learned = (rows[rows["baseline"] == name] for name in ("majority", "tfidf_logistic_regression"))
    assert list(majority["prediction"]) == ["ham", "ham"]  # of train; validation is all spam
    assert majority["probability_spam"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert list(learned["prediction"]) == ["ham", "spam"]
    probabilities = rows.filter(like="probability_")
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1] * 4)
    assert (probabilities["probability_other"] == 0).all()  # a label that train lacks


@pytest.mark.parametrize(("train", "test", "message"), [(HAM, SPAM, "only one label"), (HAM + SPAM, [], "no rows")])
def test_nothing_to_learn_or_to_predict(train: list[Any], test: list[Any], message: str, tmp_path: Path) -> None:
    prepared = prepare_messages(tmp_path, ["ham", "spam"], train=train, test=test)
    with pytest.raises(UserError, match=message):
        classification_baselines(prepared, tmp_path / "baselines.parquet")
    assert not (tmp_path / "baselines.parquet").exists()


def responses(prepared: Path, baseline: str) -> list[str]:
    instruction_baselines(prepared, prepared / "baselines.parquet")
    table = pq.read_table(prepared / "baselines.parquet")
    assert table.schema.names == ["baseline", "id", "category", "reference", "response"]
    rows = table.to_pandas()
    assert set(rows["baseline"]) == {"majority_answer", "nearest_neighbour"}
    return list(rows[rows["baseline"] == baseline]["response"])


def test_majority_answer_is_of_the_category_in_train(tmp_path: Path) -> None:
    prepared = prepare_questions(
        tmp_path,
        train=[
            ("Is 3 even?", "", "no", "parity"),
            ("Is 4 even?", "", "yes", "parity"),
            ("Is 5 even?", "", "no", "parity"),
            ("After b?", "", "c", "letters"),  # as frequent as d, and earlier
            ("After c?", "", "d", "letters"),
        ],
        validation=[("Is 6 even?", "", "yes", "parity")] * 5,
        test=[("Is 8 even?", "", "yes", "parity"), ("After d?", "", "e", "letters"), ("2 + 2?", "", "4", "sums")],
    )
    assert responses(prepared, "majority_answer") == ["no", "c", "no"]


def test_nearest_neighbour_looks_at_letters_symbols_and_the_input(tmp_path: Path) -> None:
    prepared = prepare_questions(
        tmp_path,
        train=[
            ("Which letter comes after b?", "", "c", ""),
            ("Which letter comes after k?", "", "l", ""),
            ("Work out the result.", "3 + 4", "7", ""),
            ("Work out the result.", "3 * 4", "12", ""),
            ("Work out the result.", "3 * 4", "twelve", ""),
        ],
        validation=[("Which letter comes after k? Say.", "", "L", "")],
        test=[
            ("Which letter comes after k? Say.", "", "L", ""),
            ("Work out the result.", "4 * 3", "12", ""),
            ("Work out the result.", "4 + 3", "7", ""),
            ("Work out the result.", "3 * 4", "12", ""),  # two equally near: the first
        ],
    )
    assert responses(prepared, "nearest_neighbour") == ["l", "12", "7", "12"]
