"""The stages around the tokenizer, and the token files."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset, TextDataset
from gptsmith.data import prepared as prepared_files
from gptsmith.data.prepared import SCHEMAS, read_batches, row_groups, write_prepared
from gptsmith.data.prompts import format_prompt
from gptsmith.data.shards import Shard
from gptsmith.errors import UserError
from gptsmith.tokenizer import fast, processes
from gptsmith.tokenizer.bpe import END_OF_TEXT, BytePairEncoding, train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokenize import join_shards, tokenize_dataset
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.tokenizer.training import train_tokenizer

SOURCE: dict[str, Any] = {"sources": [{"path": "unused.csv"}], "format": {"type": "csv"}}
CLASSIFICATION = ClassificationDataset(task="classification", **SOURCE)
TEXT = TextDataset(task="text", **SOURCE)

ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [
        {"id": 4, "text": "Win a prize! ☕", "label": "spam"},
        {"id": 1, "text": "", "label": "ham"},
        {"id": 9, "text": f"see you {END_OF_TEXT}", "label": "ham"},
    ],
    "instruction": [
        {"id": 2, "instruction": "Add.", "input": "2, 3", "output": "5", "category": "sums"},
        {"id": 0, "instruction": "Say hello.", "input": "", "output": "Hello!", "category": ""},
    ],
    "text": [{"id": n, "text": f"line {n}\n" * (n % 3)} for n in range(2500)],
}


@pytest.fixture(scope="module")
def byte_pairs() -> BytePairEncoding:
    return train(["the line of the cat: don't add 1, 22 or 333   lines! ☕☕"], 285)


@pytest.fixture(scope="module")
def tokenizer(byte_pairs: BytePairEncoding, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(byte_pairs, folder)
    return load_tokenizer(folder, "tiny")


def prepare(folder: Path, task: str, labels: list[str] | None = None) -> Path:
    """Prepare ROWS of a task: all in train, all but the first in validation, none in test."""
    table = pa.Table.from_pylist(ROWS[task], schema=SCHEMAS[task])
    splits = {"train": table.to_batches(), "validation": table.slice(1).to_batches(), "test": []}
    write_prepared(folder, splits, {"task": task} | ({"labels": labels} if labels else {}))
    return folder


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])) | st.text("the lineofcaton'd1, 23!☕ \n"))
def test_fast_equals_slow_and_decodes_to_the_text(
    tokenizer: Tokenizer, byte_pairs: BytePairEncoding, text: str
) -> None:
    ids = tokenizer.encode(text)
    assert ids == byte_pairs.encode(text)
    assert tokenizer.decode(ids) == byte_pairs.decode(ids) == text


def test_fast_tokenizer_keeps_the_rules_of_the_slow_one(tokenizer: Tokenizer, byte_pairs: BytePairEncoding) -> None:
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (285, 284)
    assert tokenizer.content_hash == byte_pairs.content_hash
    assert tokenizer.encode(END_OF_TEXT) == byte_pairs.encode(END_OF_TEXT)
    assert tokenizer.decode([tokenizer.end_of_text, *tokenizer.encode("a")]) == "a"
    assert tokenizer.decode(tokenizer.encode("漢")[:-1]) == "\ufffd"
    for ids in ([-1], [285], [2**40]):
        with pytest.raises(ValueError, match="is no token: ids go from 0 to 284"):
            tokenizer.decode(ids)
    with pytest.raises(UserError, match=r"character 2 of the text is U\+D800"):
        tokenizer.encode("a\ud800")


def test_very_long_runs(tokenizer: Tokenizer) -> None:
    for text in ("a" * 1_000_000, "漢" * 300_000, " " * 899_999 + "a", "a" + "\n" * 899_999):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    with pytest.raises(UserError, match="900,000 characters of white space in a row, from character 2 of a text"):
        tokenizer.encode("a" + " " * 2_000_000)


def test_loading_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.json: no such file"):
        load_tokenizer(tmp_path, "none")


def test_a_tokenizer_is_trained_on_the_texts_of_all_prepared_files(tmp_path: Path) -> None:
    tasks = ["classification", "instruction"]
    files = [prepare(tmp_path / task, task) / "train.parquet" for task in tasks]
    train_tokenizer(files, 290, tmp_path / "trained")
    columns = ("text", "instruction", "input", "output")
    texts = [row[column] for task in tasks for row in ROWS[task] for column in columns if column in row]
    assert load_tokenizer(tmp_path / "trained", "trained").content_hash == train(texts, 290).content_hash


def test_training_a_tokenizer_on_something_else(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(UserError, match="no such file"):
        train_tokenizer([path], 262, tmp_path)
    pq.write_table(pa.table({"text": ["no id"]}), path)
    with pytest.raises(UserError, match=r"not a split of a prepared dataset \(columns text\)"):
        train_tokenizer([path], 262, tmp_path)
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="damaged"):
        train_tokenizer([path], 262, tmp_path)
    assert not (tmp_path / "vocab.json").exists()


def test_classification_tokens(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prepared = prepare(tmp_path / "prepared", "classification", labels=["ham", "spam"])
    tokenize_dataset(prepared, CLASSIFICATION, tokenizer, tmp_path)
    tokens = read_tokens(tmp_path / "train.parquet")
    assert tokens.ids.tolist() == [4, 1, 9]
    assert tokens.labels is not None
    assert tokens.labels.tolist() == [1, 0, 0]
    assert tokens.label_names == ["ham", "spam"]
    assert tokens.prompt_lengths is None
    assert [tokenizer.decode(tokens[row].tolist()) for row in range(len(tokens))] == [
        row["text"] for row in ROWS["classification"]
    ]
    assert tokenizer.end_of_text not in tokens.values
    assert read_tokens(tmp_path / "validation.parquet").ids.tolist() == [1, 9]
    assert len(read_tokens(tmp_path / "test.parquet")) == 0


@pytest.mark.parametrize("style", ["alpaca", "compact"])
def test_instruction_tokens(tmp_path: Path, tokenizer: Tokenizer, style: Literal["alpaca", "compact"]) -> None:
    dataset = InstructionDataset(task="instruction", prompt=style, **SOURCE)
    tokenize_dataset(prepare(tmp_path / "prepared", "instruction"), dataset, tokenizer, tmp_path)
    tokens = read_tokens(tmp_path / "train.parquet")
    assert tokens.prompt_lengths is not None
    assert tokens.labels is None
    assert tokens.label_names is None
    for row, expected in enumerate(ROWS["instruction"]):
        prompt, response = np.split(tokens[row], [tokens.prompt_lengths[row]])
        assert prompt.tolist() == tokenizer.encode(format_prompt(expected["instruction"], expected["input"], style))
        assert response.tolist() == tokenizer.encode(expected["output"])


def test_text_tokens_of_more_than_one_batch(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenize_dataset(prepare(tmp_path / "prepared", "text"), TEXT, tokenizer, tmp_path)
    tokens = read_tokens(tmp_path / "train.parquet")
    encoded = [tokenizer.encode(row["text"]) for row in ROWS["text"]]
    assert tokens.ids.tolist() == list(range(2500))
    assert tokens.lengths.tolist() == [len(ids) for ids in encoded]
    assert [tokens[row].tolist() for row in range(len(tokens))] == encoded


@pytest.mark.parametrize("batch_rows", [1, 7, 2500])
@pytest.mark.parametrize("group_bytes", [1, 700, 2**20])
def test_row_groups_hold_all_rows_in_order_however_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, group_bytes: int
) -> None:
    monkeypatch.setattr(prepared_files, "ROW_GROUP_BYTES", group_bytes)
    table = pa.Table.from_pylist(ROWS["text"], schema=SCHEMAS["text"])
    groups = list(row_groups(table.to_batches(batch_rows)))
    assert pa.Table.from_batches(groups).equals(table)
    assert groups == list(row_groups(table.to_batches()))
    assert all(len(group) == 1 or group.nbytes <= group_bytes + 100 for group in groups)
    assert len(groups) <= 2 * table.nbytes / group_bytes + 1 or len(groups) == len(table)
    # What other processes are sent is the rows of the group, not all that they were cut from.
    assert all(len(pickle.dumps(group)) < group.nbytes + 1000 for group in groups)
    write_prepared(tmp_path, {"train": groups, "validation": [], "test": []}, {"task": "text"})
    assert list(read_batches(tmp_path / "train.parquet")) == groups
    assert list(read_batches(tmp_path / "test.parquet")) == []


def test_any_number_of_processes_writes_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer
) -> None:
    monkeypatch.setattr(prepared_files, "ROW_GROUP_BYTES", 10_000)
    monkeypatch.setattr(processes, "HEAD_START", 1)
    prepared = prepare(tmp_path / "prepared", "text")
    for number in (1, 2):
        tokenize_dataset(prepared, TEXT, tokenizer, tmp_path / f"of {number}", processes=number)
    for split in ("train", "validation", "test"):
        one, two = (tmp_path / f"of {number}" / f"{split}.parquet" for number in (1, 2))
        assert one.read_bytes() == two.read_bytes()
    assert len(read_tokens(two)) == 0


@pytest.mark.parametrize("task", ["classification", "text"])
def test_any_number_of_shards_gives_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, task: str
) -> None:
    monkeypatch.setattr(prepared_files, "ROW_GROUP_BYTES", 3000)
    labels, dataset = (["ham", "spam"], CLASSIFICATION) if task == "classification" else (None, TEXT)
    prepared = prepare(tmp_path / "prepared", task, labels)
    tokenize_dataset(prepared, dataset, tokenizer, tmp_path / "whole")
    for total in (1, 2, 5, 8):
        shards = [tmp_path / f"{number}-of-{total}" for number in range(total)]
        for number, folder in enumerate(shards):
            tokenize_dataset(prepared, dataset, tokenizer, folder, shard=Shard(number, total))
        join_shards(shards, tmp_path / "joined")
        for split in ("train", "validation", "test"):
            whole, joined = (tmp_path / folder / f"{split}.parquet" for folder in ("whole", "joined"))
            assert joined.read_bytes() == whole.read_bytes()
    if task == "text":
        assert all(len(read_tokens(folder / "train.parquet")) for folder in shards[:4])


def test_shards_of_different_tokenizers_are_not_joined(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prepared = prepare(tmp_path / "prepared", "text")
    for number, each in enumerate((tokenizer, replace(tokenizer, byte_pairs=train(["another"], 259)))):
        tokenize_dataset(prepared, TEXT, each, tmp_path / str(number), shard=Shard(number, 2))
    with pytest.raises(UserError, match=r"1/train\.parquet: of another tokenizer than .*0/train\.parquet"):
        join_shards([tmp_path / "0", tmp_path / "1"], tmp_path / "joined")
    assert list(tmp_path.glob("joined/*")) == []


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text("ab'sre1 .\n\t\x1c\u00a0漢☕"), st.integers(1, 6))
def test_a_long_text_encoded_in_pieces_has_the_same_ids(tokenizer: Tokenizer, text: str, length: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_PIECE", length)
        assert tokenizer.encode(text) == tokenizer.encoding.encode_ordinary(text)


def test_a_long_text_is_encoded_in_pieces(monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> None:
    monkeypatch.setattr(fast, "_PIECE", 100)
    assert len(list(tokenizer.encode_pieces("the cat of the line\n" * 500))) > 90


def test_a_text_that_cannot_be_encoded_is_named_by_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer
) -> None:
    monkeypatch.setattr(processes, "HEAD_START", 0)
    table = pa.Table.from_pylist([{"id": 3, "text": "a"}, {"id": 5, "text": " " * 900_000}], schema=SCHEMAS["text"])
    write_prepared(tmp_path, dict.fromkeys(("train", "validation", "test"), table.to_batches()), {"task": "text"})
    for number in (1, 2):
        with pytest.raises(UserError, match=r"train\.parquet, id 5: at least 900,000 characters of white space"):
            tokenize_dataset(tmp_path, TEXT, tokenizer, tmp_path / "tokens", processes=number)
        assert list(tmp_path.glob("tokens/*")) == []


def test_token_files_are_as_the_contract_says(tmp_path: Path, tokenizer: Tokenizer) -> None:
    prepared = prepare(tmp_path / "prepared", "classification", labels=["ham", "spam"])
    tokenize_dataset(prepared, CLASSIFICATION, tokenizer, tmp_path)
    with pq.ParquetFile(tmp_path / "train.parquet") as file:
        schema = file.schema_arrow
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert {field.name: field.type for field in schema} == {
        "id": pa.int64(),
        "input_ids": pa.list_(pa.int32()),
        "label": pa.int32(),
    }
    metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert metadata == {
        "tokenizer": "tiny",
        "tokenizer_sha256": tokenizer.content_hash,
        "labels": '["ham", "spam"]',
    }


@pytest.mark.parametrize(
    ("dataset", "labels", "message"),
    [
        (CLASSIFICATION, ["ham", "junk"], r"train\.parquet, id 4: label 'spam' is not in the dataset's report"),
        (TEXT, ["ham", "spam"], "prepared for classification, not text"),
    ],
)
def test_prepared_files_that_do_not_fit(
    tmp_path: Path, tokenizer: Tokenizer, dataset: Dataset, labels: list[str], message: str
) -> None:
    prepared = prepare(tmp_path / "prepared", "classification", labels)
    with pytest.raises(UserError, match=message):
        tokenize_dataset(prepared, dataset, tokenizer, tmp_path / "tokens")
    assert list(tmp_path.glob("tokens/*")) == []


def test_files_that_are_no_token_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_tokens(tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"not a token file \(columns id, text\)"):
        read_tokens(prepare(tmp_path, "text") / "train.parquet")
    content = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged"):
        read_tokens(tmp_path / "train.parquet")


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenize_dataset(prepare(tmp_path / "prepared", "text"), TEXT, tokenizer, tmp_path)
    tokens = read_tokens(tmp_path / "train.parquet")
    check_same_tokenizer(tokens, replace(tokenizer, name="the same by another name"))
    write_tokenizer(train(["another"], 259), tmp_path)
    with pytest.raises(UserError, match=r"made by tokenizer tiny .* the model's is another"):
        check_same_tokenizer(tokens, load_tokenizer(tmp_path, "another"))
