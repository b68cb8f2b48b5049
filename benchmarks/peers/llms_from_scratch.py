"""The recipes of llms-from-scratch, the code of Raschka, "Build a Large Language Model (From Scratch)" (2024).

Models, datasets, batching and loops are the package's own, the settings those of its chapters 6 and 7. Only the weights
are ours, so that both sides compute the same function.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from llms_from_scratch import ch05, ch06, ch07
from llms_from_scratch.ch04 import GPTModel
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.turns import EVALUATION, TRAINING, Side
from gptsmith.config.architecture import Architecture
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.tokenizer.fast import Tokenizer

NAME = "llms-from-scratch"
LEARNING_RATE, WEIGHT_DECAY = 5e-5, 0.1
BATCH_SIZE = 8
MAX_LENGTH = 120
"""Tokens of the longest message of chapter 6's training split, to which it pads all (longer ones are in ours)."""
EVALUATED_BATCHES = 5
"""Of the training and of the validation split, in each evaluation during a training."""


@dataclass(frozen=True)
class Announced:
    """A data loader that announces each batch to a side of the measurement."""

    loader: DataLoader
    model: nn.Module
    side: Side

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.loader:
            self.side.begin(TRAINING if self.model.training else EVALUATION, inputs.numel())
            try:
                yield inputs, targets
            except GeneratorExit:  # their evaluations fetch a batch more than they use
                self.side.drop()
                raise
        self.side.end()


def spam_datasets(rows: dict[str, Any], tokenizer: Tokenizer, folder: Path) -> dict[str, ch06.SpamDataset]:
    """Their datasets by split, every text cut and padded to 120 tokens.

    rows: by split, tables with the columns text and label ("ham" or "spam").
    """
    datasets: dict[str, ch06.SpamDataset] = {}
    for split in ("train", "validation", "test"):
        path = folder / f"{split}.csv"
        labels = [int(label == "spam") for label in rows[split]["label"].to_pylist()]
        pd.DataFrame({"Label": labels, "Text": rows[split]["text"].to_pylist()}).to_csv(path, index=False)
        datasets[split] = ch06.SpamDataset(path, tokenizer, MAX_LENGTH, pad_token_id=tokenizer.end_of_text)
    return datasets


CLASSIFIER_EPOCHS, CLASSIFIER_EVALUATED_EVERY = 5, 50


def fine_tune_classifier(model: nn.Module, datasets: dict[str, ch06.SpamDataset], device: str, side: Side) -> None:
    """Chapter 6: the training with its evaluations, and the accuracy on all three splits at the end."""
    torch.manual_seed(123)
    loaders = [
        Announced(DataLoader(dataset, BATCH_SIZE, shuffle=shuffle, drop_last=shuffle), model, side)
        for dataset, shuffle in zip(datasets.values(), (True, False, False), strict=True)
    ]
    train, validation, _ = loaders
    ch06.train_classifier_simple(
        model,
        train,
        validation,
        optimizer(model),
        device,
        num_epochs=CLASSIFIER_EPOCHS,
        eval_freq=CLASSIFIER_EVALUATED_EVERY,
        eval_iter=EVALUATED_BATCHES,
    )
    for loader in loaders:
        ch06.calc_accuracy_loader(loader, model, device)


def classifier_sizes(datasets: dict[str, ch06.SpamDataset]) -> dict[str, list[int]]:
    """Positions of each batch of `fine_tune_classifier`, by kind."""
    splits = {split: _sizes(len(dataset), drop_last=split == "train") for split, dataset in datasets.items()}
    training = splits["train"] * CLASSIFIER_EPOCHS
    during = splits["train"][:EVALUATED_BATCHES] + splits["validation"][:EVALUATED_BATCHES]
    times = -(-len(training) // CLASSIFIER_EVALUATED_EVERY) + CLASSIFIER_EPOCHS
    return {TRAINING: training, EVALUATION: during * times + list(itertools.chain(*splits.values()))}


def _sizes(rows: int, *, drop_last: bool) -> list[int]:
    rest = rows % BATCH_SIZE
    return [BATCH_SIZE * MAX_LENGTH] * (rows // BATCH_SIZE) + ([rest * MAX_LENGTH] if rest and not drop_last else [])


def instruction_dataset(rows: Any, tokenizer: Tokenizer) -> ch07.InstructionDataset:
    """rows: a table with the columns instruction, input and output."""
    return ch07.InstructionDataset(rows.to_pylist(), tokenizer)


def fine_tune(
    model: nn.Module,
    train: Sequence[list[int]],
    validation: Sequence[list[int]],
    tokenizer: Tokenizer,
    device: str,
    side: Side,
) -> None:
    """Chapter 7, one epoch on `train` (token ids), loss on all tokens; of its evaluations only the first."""
    torch.manual_seed(123)
    loaders = [
        Announced(
            DataLoader(rows, BATCH_SIZE, shuffle=shuffle, drop_last=shuffle, collate_fn=collate(device)),  # type: ignore[arg-type]
            model,
            side,
        )
        for rows, shuffle in ((train, True), (validation, False))
    ]
    ch05.train_model_simple(
        model,
        *loaders,
        optimizer(model),
        device,
        num_epochs=1,
        eval_freq=len(train),
        eval_iter=EVALUATED_BATCHES,
        start_context="Below is an instruction",
        tokenizer=tokenizer.encoding,
    )


def optimizer(model: nn.Module, weight_decay: float = WEIGHT_DECAY) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=weight_decay)


def collate(device: str) -> Callable[[list[list[int]]], tuple[Tensor, Tensor]]:
    return partial(ch07.custom_collate_fn, device=device, allowed_max_length=1024)


@contextlib.contextmanager
def recorded_losses(chapter: ModuleType) -> Iterator[list[float]]:
    """The losses of the training steps that `chapter` (ch05 or ch06) makes."""
    losses: list[float] = []
    compute = chapter.calc_loss_batch

    def recording(inputs: Tensor, targets: Tensor, model: nn.Module, device: str) -> Tensor:
        loss = compute(inputs, targets, model, device)
        if model.training:
            losses.append(loss.item())
        return loss

    with patch.object(chapter, "calc_loss_batch", recording):
        yield losses


def language_model(ours: LanguageModel, model_class: Callable[[dict[str, Any]], nn.Module] = GPTModel) -> nn.Module:
    """Their model with our weights; its head is a matrix of its own, trained apart from the embedding."""
    theirs = model_class(configuration(ours.architecture))
    _copy_trunk(ours.trunk, theirs)
    head = ours.trunk.embeddings.token if ours.head is None else ours.head
    _assign(theirs.out_head, head.weight)
    return theirs


def classifier(ours: Classifier) -> nn.Module:
    """Their model with our weights, and what chapter 6 trains unfrozen: the last block, the norm after it, the head."""
    theirs: Any = GPTModel(configuration(ours.architecture))
    _copy_trunk(ours.trunk, theirs)
    theirs.requires_grad_(False)
    theirs.out_head = nn.Linear(ours.score.in_features, ours.score.out_features)
    _assign(theirs.out_head, ours.score.weight, torch.zeros(ours.score.out_features))
    theirs.trf_blocks[-1].requires_grad_(True)
    theirs.final_norm.requires_grad_(True)
    return theirs


def configuration(architecture: Architecture) -> dict[str, Any]:
    return {
        "vocab_size": architecture.vocab_size,
        "context_length": architecture.context_length,
        "emb_dim": architecture.d_model,
        "n_heads": architecture.n_heads,
        "n_layers": architecture.n_layers,
        "drop_rate": 0.0,
        "qkv_bias": True,
    }


@torch.no_grad()
def _copy_trunk(ours: Any, theirs: Any) -> None:
    _assign(theirs.tok_emb, ours.embeddings.token.weight)
    _assign(theirs.pos_emb, ours.embeddings.position.weight)
    for block, target in zip(ours.blocks, theirs.trf_blocks, strict=True):
        attention = target.att
        if hasattr(attention, "qkv"):
            _assign(attention.qkv, block.attention.qkv.weight, block.attention.qkv.bias)
            _assign(attention.proj, block.attention.projection.weight, block.attention.projection.bias)
        else:
            weights, biases = block.attention.qkv.weight.chunk(3), block.attention.qkv.bias.chunk(3)
            parts = (attention.W_query, attention.W_key, attention.W_value)
            for part, weight, bias in zip(parts, weights, biases, strict=True):
                _assign(part, weight, bias)
            _assign(attention.out_proj, block.attention.projection.weight, block.attention.projection.bias)
        _assign(target.ff.layers[0], block.feedforward.up.weight, block.feedforward.up.bias)
        _assign(target.ff.layers[2], block.feedforward.down.weight, block.feedforward.down.bias)
        _assign_norm(target.norm1, block.attention_norm)
        _assign_norm(target.norm2, block.feedforward_norm)
    _assign_norm(theirs.final_norm, ours.final_norm)


@torch.no_grad()
def _assign(target: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    target.weight.copy_(weight)
    if bias is not None:
        target.bias.copy_(bias)


def _assign_norm(target: Any, norm: Any) -> None:
    if isinstance(target, nn.LayerNorm):
        _assign(target, norm.weight, norm.bias)
    else:
        target.scale.copy_(norm.weight)
        target.shift.copy_(norm.bias)
