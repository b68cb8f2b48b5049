"""The stage that classifies texts with a fine-tuned classifier."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gptsmith.checkpoint.files import load_classifier, save_classifier
from gptsmith.config.architecture import Architecture
from gptsmith.data.prepared import SCHEMAS, write_prepared
from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json
from gptsmith.generation import predictions
from gptsmith.generation.predictions import write_predictions
from gptsmith.model.initialization import new_classifier
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import token_schema
from gptsmith.training.compute import Compute

CPU = Compute(torch.device("cpu"), "fp32")
LABELS = ["ham", "other", "spam"]
SHAPE = Architecture(vocab_size=257, context_length=20, d_model=16, n_layers=2, n_heads=2)
END_OF_TEXT = 256
RANDOM = np.random.default_rng(0)
# Every character is a token.
TEXTS = {
    "validation": ["a", "a longer text to read", "", "b"],
    "test": ["".join(RANDOM.choice(list("abcdef ")) for _ in range(RANDOM.integers(1, 19))) for _ in range(70)],
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train(["bytes alone"], 257), folder)
    return load_tokenizer(folder, "bytes")


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """With the folders `prepared`, `tokens` and `checkpoint`."""
    tables = {"train": pa.Table.from_pylist([], schema=SCHEMAS["classification"])}
    schema = token_schema("classification", tokenizer, LABELS)
    first_id = 10
    (tmp_path / "tokens").mkdir()
    for split, texts in TEXTS.items():
        ids = [first_id + 2 * row for row in range(len(texts))]
        labels = [LABELS[i % 3] for i in ids]
        tables[split] = pa.table({"id": ids, "text": texts, "label": labels}, schema=SCHEMAS["classification"])
        encoded = {"id": ids, "input_ids": [tokenizer.encode(text) for text in texts], "label": [i % 3 for i in ids]}
        pq.write_table(pa.table(encoded, schema=schema), tmp_path / "tokens" / f"{split}.parquet")
        first_id = ids[-1] + 1
    batches = {split: table.to_batches() for split, table in tables.items()}
    write_prepared(tmp_path / "prepared", batches, {"task": "classification"})
    model = new_classifier(SHAPE, len(LABELS), torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)  # decided answers
    save_classifier(model, tmp_path / "checkpoint", LABELS, END_OF_TEXT)
    return tmp_path


def predict(folder: Path, max_length: int | None = None) -> pa.Table:
    output = folder / "predictions.parquet"
    config = folder / "checkpoint" / "config.json"
    write_json(config, read_json(config) | {"fine_tuning": {"max_length": max_length or SHAPE.context_length}})
    write_predictions(folder / "checkpoint", folder / "tokens", folder / "prepared", tuple(TEXTS), None, 0, CPU, output)
    return pq.read_table(output)


def probabilities(table: pa.Table) -> np.ndarray:
    return np.stack([table[f"probability_{label}"].to_numpy() for label in LABELS], axis=1)


def one_by_one(folder: Path, texts: list[list[int]]) -> np.ndarray:
    """What the classifier says of each text by itself."""
    model, _ = load_classifier(folder / "checkpoint")
    with torch.inference_mode():
        logits = torch.cat([model(torch.tensor([ids]), torch.tensor([len(ids)])) for ids in texts])
    return logits.double().softmax(dim=-1).numpy()


def test_a_row_for_every_text_of_both_splits(folder: Path) -> None:
    table = predict(folder)
    assert table.schema.names == ["id", "split", "text", "label", "prediction", *(f"probability_{x}" for x in LABELS)]
    assert {str(field.type) for field in table.schema if field.name.startswith("probability")} == {"double"}
    expected = [pq.read_table(folder / "prepared" / f"{split}.parquet") for split in TEXTS]
    for column in ("id", "text", "label"):
        assert table[column].to_pylist() == [value for part in expected for value in part[column].to_pylist()]
    assert table["split"].to_pylist() == ["validation"] * 4 + ["test"] * 70


def test_probabilities_add_up_and_the_highest_is_the_prediction(folder: Path) -> None:
    table = predict(folder)
    found = probabilities(table)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert (found >= 0).all()
    assert table["prediction"].to_pylist() == [LABELS[index] for index in found.argmax(axis=1)]
    assert set(table["prediction"].to_pylist()) == set(LABELS)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_prediction_does_not_depend_on_its_company(
    batch_size: int, folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "BATCH_SIZE", batch_size)
    table = predict(folder)
    texts = [tokenizer.encode(text)[:20] or [END_OF_TEXT] for text in table["text"].to_pylist()]
    np.testing.assert_allclose(probabilities(table), one_by_one(folder, texts), rtol=1e-4, atol=1e-6)


def test_a_text_without_tokens_is_read_as_in_training(folder: Path) -> None:
    """As end-of-text alone (gptsmith.training.tasks)."""
    table = predict(folder)
    empty = table["text"].to_pylist().index("")
    expected, another = one_by_one(folder, [[END_OF_TEXT], [0]])
    np.testing.assert_allclose(probabilities(table)[empty], expected, rtol=1e-4)
    assert not np.allclose(expected, another, atol=0.01)


def test_max_length_cuts(folder: Path, tokenizer: Tokenizer) -> None:
    table, whole = predict(folder, max_length=3), predict(folder)
    texts = [tokenizer.encode(text)[:3] or [END_OF_TEXT] for text in table["text"].to_pylist()]
    np.testing.assert_allclose(probabilities(table), one_by_one(folder, texts), rtol=1e-4, atol=1e-6)
    assert not np.allclose(probabilities(table), probabilities(whole), atol=1e-2)
    # More than the context holds cannot be read.
    assert predict(folder, max_length=1000).equals(whole)


def test_other_labels_are_refused(folder: Path) -> None:
    model = new_classifier(SHAPE, 3, torch.Generator().manual_seed(1))
    save_classifier(model, folder / "checkpoint", ["spam", "other", "ham"], END_OF_TEXT)
    with pytest.raises(UserError, match=r"checkpoint: trained on labels \['spam', 'other', 'ham'\], but .*tokens has"):
        predict(folder)
    assert not (folder / "predictions.parquet").exists()


def test_tokens_of_other_rows_are_refused(folder: Path) -> None:
    path = folder / "tokens" / "test.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, 70)]), path)
    with pytest.raises(UserError, match="not the tokens of"):
        predict(folder)
    assert not (folder / "predictions.parquet").exists()


def test_a_split_may_be_empty(folder: Path) -> None:
    for path in (folder / "tokens" / "validation.parquet", folder / "prepared" / "validation.parquet"):
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    table = predict(folder)
    assert set(table["split"].to_pylist()) == {"test"}
    assert len(table) == 70
