"""The stage that fine-tunes, on datasets of a few rows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from gptsmith.checkpoint.configuration import FineTuning, read_fine_tuning
from gptsmith.checkpoint.files import load_classifier, load_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.config.datasets import ClassificationDataset, Dataset, InstructionDataset
from gptsmith.config.runs import Run
from gptsmith.data.prepared import SCHEMAS, write_prepared
from gptsmith.errors import UserError
from gptsmith.files import read_json, sha256_of
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset
from gptsmith.tokenizer.tokens import read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.finetuning import FinetuneInputs, FinetuneOutputs, finetune
from gptsmith.training.history import SCHEMA
from gptsmith.training.pretraining import write_random_model

CPU = Compute(torch.device("cpu"), "fp32")
SHAPE = Architecture(context_length=24, d_model=16, n_layers=2, n_heads=2)
SOURCE: dict[str, Any] = {"sources": [{"path": "unused.csv"}], "format": {"type": "csv"}}
CLASSIFICATION = ClassificationDataset(task="classification", **SOURCE)
INSTRUCTION = InstructionDataset(task="instruction", prompt="compact", **SOURCE)
TRAINING = {"epochs": 2, "batch_size": 8, "evaluations": 2, "learning_rate": 1e-2}
RUNS = {
    "classification": {"dataset": "classification", "model": "base", "training": TRAINING},
    "instruction": {"dataset": "instruction", "model": "base", "training": TRAINING},
}


def prepared_rows(task: str, n: int) -> pa.Table:
    if task == "classification":
        rows: list[dict[str, Any]] = [
            {
                "id": i,
                "text": f"win {i} now" if i % 3 == 0 else f"see you at {i}",
                "label": "spam" if i % 3 == 0 else "ham",
            }
            for i in range(n)
        ]
    else:
        rows = [
            {"id": i, "instruction": "Repeat.", "input": f"word {i}", "output": f"word {i}", "category": ""}
            for i in range(n)
        ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS[task])


@dataclass(frozen=True)
class Project:
    """A tokenizer, the tokens of a dataset of each task, and a base model."""

    folder: Path

    def inputs(self, task: str) -> FinetuneInputs:
        return FinetuneInputs(self.folder / "tokens" / task, self.folder / "tokenizer", self.folder / "base", None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    write_tokenizer(train(["win now, see you at the word. Repeat."], 270), folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer", "tokenizer")
    datasets: list[tuple[str, Dataset]] = [("classification", CLASSIFICATION), ("instruction", INSTRUCTION)]
    for task, dataset in datasets:
        tables = {split: prepared_rows(task, n) for split, n in (("train", 20), ("validation", 6), ("test", 6))}
        labels = {"labels": ["ham", "spam"]} if task == "classification" else {}
        batches = {split: table.to_batches() for split, table in tables.items()}
        write_prepared(folder / task, batches, {"task": task, **labels})
        tokenize_dataset(folder / task, dataset, tokenizer, folder / "tokens" / task)
    write_random_model(SHAPE, 1, folder / "tokenizer", folder / "base")
    return Project(folder)


def tune(
    project: Project, output: Path, task: str, seed: int = 1, share: float = 1.0, **changes: Any
) -> FinetuneOutputs:
    outputs = FinetuneOutputs(output / "checkpoint", output / "history.parquet", output / "provenance.json")
    run = Run.model_validate(RUNS[task] | changes)
    finetune("tiny", run, seed, CPU, project.inputs(task), outputs, share=share)
    return outputs


def tokenizer_of(project: Project) -> Tokenizer:
    return load_tokenizer(project.folder / "tokenizer", "tokenizer")


@pytest.mark.parametrize("task", ["classification", "instruction"])
def test_everything_is_written_and_can_be_read(task: str, project: Project, tmp_path: Path) -> None:
    outputs = tune(project, tmp_path, task)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    checkpoint = {f"checkpoint/{name}" for name in ("model.safetensors", "config.json", *TOKENIZER_FILES)}
    assert files == checkpoint | {"history.parquet", "provenance.json"}

    base = load_language_model(project.folder / "base")
    model: Any
    if task == "classification":
        model, labels = load_classifier(outputs.checkpoint)
        assert labels == ["ham", "spam"]
    else:
        model = load_language_model(outputs.checkpoint)
    assert model.architecture == base.architecture
    assert not torch.equal(*(each.state_dict()["trunk.blocks.0.attention.qkv.weight"] for each in (model, base)))
    tokenizer = tokenizer_of(project)
    assert load_tokenizer(outputs.checkpoint, "copy").content_hash == tokenizer.content_hash
    assert read_json(outputs.checkpoint / "config.json")["eos_token_id"] == tokenizer.end_of_text
    assert read_fine_tuning(outputs.checkpoint) == FineTuning(
        max_length=SHAPE.context_length, prompt="compact" if task == "instruction" else None
    )

    history = pq.read_table(outputs.history)
    assert history.schema.equals(SCHEMA)
    n_steps = 2 * 3
    assert history["split"].to_pylist().count("train") == n_steps
    assert [row["step"] for row in history.to_pylist() if row["split"] == "validation"] == [0, 3, 6]
    assert all((value is None) == (task == "instruction") for value in history["accuracy"].to_pylist())


def test_a_checkpoint_records_the_length_that_texts_were_cut_to(project: Project, tmp_path: Path) -> None:
    assert read_fine_tuning(tune(project, tmp_path, "classification", max_length=5).checkpoint) == FineTuning(
        max_length=5
    )
    assert read_fine_tuning(project.folder / "base") is None
    damaged = tmp_path / "checkpoint" / "config.json"
    damaged.write_text(damaged.read_text().replace('"max_length": 5', '"max_length": 0'))
    with pytest.raises(UserError, match=r"config.json: max_length: Input should be greater than 0"):
        read_fine_tuning(damaged.parent)


def test_where_a_result_comes_from(project: Project, tmp_path: Path) -> None:
    outputs = tune(project, tmp_path, "classification", seed=7, trainable={"last_blocks": 1})
    written = read_json(outputs.provenance)
    inputs = project.inputs("classification")
    files = [inputs.tokens / f"{split}.parquet" for split in ("train", "validation")]
    files += [inputs.base / file for file in ("model.safetensors", "config.json")]
    assert written["inputs"] == {str(file): sha256_of(file) for file in files}
    assert written["settings"]["trainable"] == {"last_blocks": 1}
    assert Run.model_validate(written["settings"]).training.batch_size == 8
    assert (written["seed"], written["device"], written["precision"]) == (7, "cpu", "fp32")
    assert written["threads"] == torch.get_num_threads()
    model, _ = load_classifier(outputs.checkpoint)
    assert written["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    block = sum(parameter.numel() for parameter in model.trunk.blocks[1].parameters())
    assert written["trainable_parameters"] == block + 2 * 16 + 2 * 16  # final layer norm, head
    assert written["truncated_texts"] == 0


def test_a_seed_decides_every_byte_of_the_checkpoint(project: Project, tmp_path: Path) -> None:
    changes = {"training": TRAINING | {"dropout": 0.1}, "trainable": {"lora": {"rank": 2, "alpha": 4}}}
    contents = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        outputs = tune(project, tmp_path / name, "classification", seed, **changes)
        contents.append((outputs.checkpoint / "model.safetensors").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_a_seed_decides_the_new_weights(project: Project, tmp_path: Path) -> None:
    """A step too small to see leaves a classifier's head as it was drawn."""
    training = {"epochs": 1, "batch_size": 20, "learning_rate": 1e-12}
    heads = []
    for seed in (1, 2):
        outputs = tune(project, tmp_path / str(seed), "classification", seed, training=training)
        heads.append(load_file(outputs.checkpoint / "model.safetensors")["score.weight"])
    assert (heads[0] - heads[1]).abs().mean() > 0.01


def trunk_of(folder: Path) -> dict[str, Tensor]:
    names = load_file(folder / "model.safetensors")
    return {name: tensor for name, tensor in names.items() if name.startswith("transformer.")}


@pytest.mark.parametrize("task", ["classification", "instruction"])
def test_adapters_are_merged_and_lie_beside(task: str, project: Project, tmp_path: Path) -> None:
    outputs = tune(project, tmp_path, task, trainable={"lora": {"rank": 2, "alpha": 6}})
    adapter = load_file(outputs.checkpoint / "adapter.safetensors")
    with safe_open(outputs.checkpoint / "adapter.safetensors", framework="pt") as file:
        assert float(file.metadata()["scale"]) == 6 / 2
    base, merged = trunk_of(project.folder / "base"), trunk_of(outputs.checkpoint)
    assert base.keys() == merged.keys()
    names = {
        "attention.qkv": "attn.c_attn",
        "attention.projection": "attn.c_proj",
        "feedforward.up": "mlp.c_fc",
        "feedforward.down": "mlp.c_proj",
    }
    adapted = set()
    for block, (ours, theirs) in [(block, pair) for block in range(2) for pair in names.items()]:
        a, b = (adapter[f"trunk.blocks.{block}.{ours}.{part}"] for part in "ab")
        assert b.abs().max() > 0  # it has learned something
        name = f"transformer.h.{block}.{theirs}.weight"
        torch.testing.assert_close(merged[name], base[name] + (3 * b @ a).T)
        adapted.add(name)
    assert len(adapter) == 2 * len(adapted)
    assert all(torch.equal(merged[name], base[name]) for name in base.keys() - adapted)
    written = read_json(outputs.provenance)
    head = 2 * 16 if task == "classification" else 0
    assert written["trainable_parameters"] == sum(tensor.numel() for tensor in adapter.values()) + head
    assert (
        written["parameters"]
        == sum(p.numel() for p in load_language_model(project.folder / "base").parameters()) + head
    )


def test_no_adapter_of_another_training_is_left(project: Project, tmp_path: Path) -> None:
    adapter = tune(project, tmp_path, "classification", trainable={"lora": {"rank": 2, "alpha": 6}}).checkpoint
    assert (adapter / "adapter.safetensors").exists()
    tune(project, tmp_path, "classification", trainable="head")
    assert not (adapter / "adapter.safetensors").exists()


def test_a_run_may_drop_activations(project: Project, tmp_path: Path) -> None:
    def first_loss(name: str, dropout: float) -> float:
        training = TRAINING | {"dropout": dropout}
        history = pq.read_table(tune(project, tmp_path / name, "instruction", training=training).history)
        return next(row["loss"] for row in history.to_pylist() if row["split"] == "train")

    assert first_loss("without", 0.0) != pytest.approx(first_loss("with", 0.3), rel=1e-5)


def test_longer_texts_are_cut_and_counted(project: Project, tmp_path: Path) -> None:
    outputs = tune(project, tmp_path, "classification", max_length=4)
    texts = prepared_rows("classification", 20)["text"].to_pylist()
    lengths = [len(tokenizer_of(project).encode(text)) for text in texts]
    assert read_json(outputs.provenance)["truncated_texts"] == sum(length > 4 for length in lengths) > 0
    history = pq.read_table(outputs.history).to_pylist()
    assert history[-1]["tokens"] == 2 * sum(min(length, 4) for length in lengths)
    half = read_json(tune(project, tmp_path / "half", "classification", share=0.5, max_length=4).provenance)
    assert 0 < half["truncated_texts"] <= half["training_rows"] == 10


def test_prompts_that_are_left_out_are_not_counted_as_cut(project: Project, tmp_path: Path) -> None:
    tokens = read_tokens(project.inputs("instruction").tokens / "train.parquet")
    assert tokens.prompt_lengths is not None
    length = int(tokens.prompt_lengths.max()) - 1
    fitting = tokens.lengths[tokens.prompt_lengths <= length]
    written = read_json(tune(project, tmp_path, "instruction", max_length=length).provenance)
    assert written["training_rows"] == len(fitting) < len(tokens)
    n_cut = int((fitting > length).sum())
    assert written["truncated_texts"] == n_cut < (tokens.lengths > length).sum()


def test_what_an_instruction_run_learns_from(project: Project, tmp_path: Path) -> None:
    losses = {}
    for loss_on in ("response", "all"):
        history = pq.read_table(tune(project, tmp_path / loss_on, "instruction", loss_on=loss_on).history)
        losses[loss_on] = history["loss"][0].as_py()
    assert losses["response"] != pytest.approx(losses["all"], rel=1e-5)


def test_rare_classes_may_count_more(project: Project, tmp_path: Path) -> None:
    plain, balanced = (
        tune(project, tmp_path / weights, "classification", class_weights=weights) for weights in ("none", "balanced")
    )
    labels = pq.read_table(project.inputs("classification").tokens / "train.parquet")["label"].to_pylist()
    expected = [len(labels) / (2 * labels.count(label)) for label in (0, 1)]
    assert list(read_json(balanced.provenance)["class_weights"].values()) == pytest.approx(expected)
    assert "class_weights" not in read_json(plain.provenance)
    losses = [pq.read_table(outputs.history)["loss"][0].as_py() for outputs in (plain, balanced)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("classification", {"trainable": {"last_blocks": 3}}, "3 blocks, but the model has 2"),
        ("instruction", {"trainable": "head"}, "head is its token embedding"),
        ("instruction", {"max_length": 2}, "every prompt is longer than max_length"),
        ("classification", {"training": TRAINING | {"learning_rate": 1e38}}, "lower training.learning_rate"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(
    task: str, changes: dict[str, Any], message: str, project: Project, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        tune(project, tmp_path, task, **changes)
    assert list(tmp_path.iterdir()) == []


def test_tokens_of_another_tokenizer_are_refused(project: Project, tmp_path: Path) -> None:
    write_tokenizer(train(["something else entirely, and longer"], 270), tmp_path / "another")
    inputs = project.inputs("classification")
    outputs = FinetuneOutputs(tmp_path / "out", tmp_path / "out" / "history", tmp_path / "out" / "provenance")
    run = Run.model_validate(RUNS["classification"])
    with pytest.raises(UserError, match="made by tokenizer tokenizer"):
        finetune("tiny", run, 1, CPU, replace(inputs, tokenizer=tmp_path / "another"), outputs)
    assert not outputs.checkpoint.exists()
