"""Stored features of frozen blocks: the trainings above them are those without a store."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from gptsmith.config.architecture import Architecture
from gptsmith.config.runs import Run
from gptsmith.data.prepared import SCHEMAS, SPLITS, write_prepared
from gptsmith.data.subsets import nested_subset
from gptsmith.errors import UserError
from gptsmith.generation.predictions import write_predictions
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import token_schema
from gptsmith.training import features
from gptsmith.training.compute import Compute
from gptsmith.training.features import write_features
from gptsmith.training.finetuning import FinetuneInputs, FinetuneOutputs, finetune
from gptsmith.training.pretraining import write_random_model

CPU = Compute(torch.device("cpu"), "fp32")
SHAPE = Architecture(context_length=16, d_model=12, n_layers=3, n_heads=2)
TRAINING = {"epochs": 2, "batch_size": 4, "evaluations": 2, "learning_rate": 1e-2}
LABELS = ["ham", "spam"]


@dataclass(frozen=True)
class Project:
    """Tokens of a classification and of an instruction dataset, and a base model, tied and not."""

    folder: Path

    def features(self, folder: Path, task: str, trained_blocks: int, limit_gb: float = 1.0, base: str = "tied") -> Path:
        for split in SPLITS:
            tokens, output = self.folder / "tokens" / task / f"{split}.parquet", folder / f"{split}.npy"
            write_features(self.folder / base, tokens, trained_blocks, MAX_LENGTH, limit_gb, CPU, output)
        return folder

    def tune(
        self,
        output: Path,
        task: str,
        trainable: Any,
        stored: Path | None,
        base: str = "tied",
        tokens: Path | None = None,
        share: float = 1.0,
        **settings: Any,
    ) -> dict[str, Any]:
        settings |= {"dataset": task, "model": base, "trainable": trainable, "training": TRAINING}
        run = Run.model_validate(settings | {"max_length": MAX_LENGTH})
        tokens = tokens or self.folder / "tokens" / task
        inputs = FinetuneInputs(tokens, self.folder / "tokenizer", self.folder / base, stored)
        outputs = FinetuneOutputs(output, output / "history", output / "provenance")
        finetune("tiny", run, 1, CPU, inputs, outputs, share=share)
        return load_file(output / "model.safetensors")

    def predict(self, checkpoint: Path, stored: Path | None, trained_blocks: int, output: Path) -> np.ndarray:
        folders = self.folder / "tokens" / "classification", self.folder / "classification"
        write_predictions(checkpoint, *folders, ("validation", "test"), stored, trained_blocks, CPU, output)
        return pq.read_table(output)["probability_spam"].to_numpy()


MAX_LENGTH = 9


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Texts of 0 to 11 tokens, so that one is empty and some are cut."""
    folder = tmp_path_factory.mktemp("features")
    write_tokenizer(train(["win now, see you"], 260), folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer", "tokenizer")
    random = np.random.default_rng(0)
    for task, column in (("classification", "label"), ("instruction", "prompt_length")):
        for split, n in zip(SPLITS, (11, 5, 6), strict=True):
            lengths = random.permutation(12)[:n]
            if task == "instruction":
                lengths = lengths + 2
            last = [int(i % 2) if task == "classification" else 1 for i in range(n)]
            ids = [random.integers(0, 6, length) for length in lengths]
            table = {"id": range(n), "input_ids": ids, column: last}
            schema = token_schema(task, tokenizer, LABELS if task == "classification" else None)
            (folder / "tokens" / task).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(table, schema=schema), folder / "tokens" / task / f"{split}.parquet")
    rows = {
        split: pa.Table.from_pylist(
            [{"id": i, "text": "", "label": LABELS[i % 2]} for i in range(n)], SCHEMAS["classification"]
        )
        for split, n in zip(SPLITS, (11, 5, 6), strict=True)
    }
    batches = {split: table.to_batches() for split, table in rows.items()}
    write_prepared(folder / "classification", batches, {"task": "classification", "labels": LABELS})
    write_random_model(SHAPE, 1, folder / "tokenizer", folder / "tied")
    write_random_model(SHAPE.model_copy(update={"tie_embeddings": False}), 1, folder / "tokenizer", folder / "untied")
    return Project(folder)


@pytest.mark.parametrize(
    ("task", "trainable", "trained_blocks", "base"),
    [
        ("classification", "head", 0, "tied"),
        ("classification", {"last_blocks": 1}, 1, "tied"),
        ("classification", {"last_blocks": 3}, 3, "tied"),
        ("instruction", {"last_blocks": 2}, 2, "tied"),
        ("instruction", "head", 0, "untied"),
    ],
)
def test_a_training_with_features_is_that_without(
    project: Project, tmp_path: Path, task: str, trainable: Any, trained_blocks: int, base: str
) -> None:
    stored = project.features(tmp_path / "stored", task, trained_blocks, base=base)
    expected = project.tune(tmp_path / "without", task, trainable, None, base)
    found = project.tune(tmp_path / "with", task, trainable, stored, base)
    initial = load_file(project.folder / base / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5, msg=name)
    # Else nothing would have been learned in either.
    assert any(name not in initial or not torch.equal(tensor, initial[name]) for name, tensor in found.items())


@pytest.mark.parametrize("task", ["classification", "instruction"])
def test_a_training_on_a_share_is_one_on_those_rows_alone(project: Project, tmp_path: Path, task: str) -> None:
    """With the features of all rows, and with the class weights of its own."""
    share, settings = 0.4, {"class_weights": "balanced"} if task == "classification" else {}
    stored = project.features(tmp_path / "stored", task, 1)
    found = project.tune(tmp_path / "share", task, {"last_blocks": 1}, stored, share=share, **settings)

    table = pq.read_table(project.folder / "tokens" / task / "train.parquet")
    if task == "classification":
        rows = nested_subset(table["label"].to_numpy(), share, seed=1)
    else:  # prompts of one token: none is too long
        rows = nested_subset(np.zeros(len(table), int), share, seed=1)
    alone = Path(shutil.copytree(project.folder / "tokens" / task, tmp_path / "alone"))
    pq.write_table(table.take(rows), alone / "train.parquet")
    expected = project.tune(tmp_path / "rows", task, {"last_blocks": 1}, None, tokens=alone, **settings)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5, msg=name)
    assert json.loads((tmp_path / "share" / "provenance").read_text())["training_rows"] == len(rows) < len(table)
    whole = project.tune(tmp_path / "whole", task, {"last_blocks": 1}, stored, **settings)
    assert any(not torch.allclose(tensor, whole[name], atol=1e-4) for name, tensor in found.items())


@pytest.mark.parametrize(("trainable", "trained_blocks"), [("head", 0), ({"last_blocks": 2}, 2)])
def test_predictions_with_features_are_those_without(
    project: Project, tmp_path: Path, trainable: Any, trained_blocks: int
) -> None:
    stored = project.features(tmp_path / "stored", "classification", trained_blocks)
    project.tune(tmp_path / "run", "classification", trainable, stored)
    expected = project.predict(tmp_path / "run", None, trained_blocks, tmp_path / "without.parquet")
    found = project.predict(tmp_path / "run", stored, trained_blocks, tmp_path / "with.parquet")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 0.01


def test_nothing_but_a_head_needs_one_position_of_each_text(project: Project, tmp_path: Path) -> None:
    texts = pq.read_table(project.folder / "tokens/classification/train.parquet")["input_ids"].to_pylist()
    all_positions = sum(min(max(len(ids), 1), MAX_LENGTH) for ids in texts)
    for trained_blocks, n_positions in ((0, len(texts)), (1, all_positions)):
        stored = project.features(tmp_path / str(trained_blocks), "classification", trained_blocks)
        assert np.load(stored / "train.npy", mmap_mode="r").shape == (n_positions, SHAPE.d_model)


def test_the_file_does_not_depend_on_how_much_is_computed_at_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.load(project.features(tmp_path / "whole", "classification", 1) / "train.npy")
    monkeypatch.setattr(features, "POSITIONS_AT_ONCE", 20)
    pools = np.load(project.features(tmp_path / "pools", "classification", 1) / "train.npy")
    np.testing.assert_allclose(pools, whole, atol=1e-5)


def test_over_the_limit_nothing_is_stored_and_the_training_is_the_same(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = project.features(tmp_path / "stored", "classification", 1, limit_gb=1e-9)
    assert "train.npy: not stored" in capsys.readouterr().err
    assert (stored / "train.npy").stat().st_size < 200
    expected = project.tune(tmp_path / "without", "classification", {"last_blocks": 1}, None)
    found = project.tune(tmp_path / "with", "classification", {"last_blocks": 1}, stored)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    probabilities = project.predict(tmp_path / "with", stored, 1, tmp_path / "predictions.parquet")
    assert len(probabilities) == 11


def test_features_of_other_texts_are_refused(project: Project, tmp_path: Path) -> None:
    stored = project.features(tmp_path / "stored", "instruction", 1)
    with pytest.raises(UserError, match=r"train.npy: made of other texts or another model; delete it"):
        project.tune(tmp_path / "run", "classification", {"last_blocks": 1}, stored)
    (stored / "train.npy").write_bytes((stored / "train.npy").read_bytes()[:100])
    with pytest.raises(UserError, match=r"train.npy: missing or damaged"):
        project.tune(tmp_path / "run", "classification", {"last_blocks": 1}, stored)
    assert not (tmp_path / "run").exists()


def test_more_trained_blocks_than_the_model_has_are_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainable.last_blocks: 4 blocks, but the model has 3"):
        project.features(tmp_path, "classification", 4)


@pytest.mark.parametrize(
    ("settings", "trained_blocks"),
    [
        ({}, None),
        ({"trainable": "head"}, 0),
        ({"trainable": {"last_blocks": 2}}, 2),
        ({"trainable": {"last_blocks": 2}, "training": {"dropout": 0.1}}, None),
        ({"trainable": {"lora": {"rank": 1, "alpha": 1}}}, None),
    ],
)
def test_features_are_for_runs_whose_lower_blocks_never_change(settings: Any, trained_blocks: int | None) -> None:
    assert Run.model_validate({"dataset": "d", "model": "m"} | settings).trained_blocks == trained_blocks
