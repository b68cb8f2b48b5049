"""Our training is the plain one: AdamW steps on transformers' GPT-2, batch after batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedModel

from gptsmith.checkpoint.files import save_classifier, save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.training import Training
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.training.compute import Compute
from gptsmith.training.examples import ClassificationExamples, LanguageExamples, epoch_batches
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import classification_loss, language_loss

SHAPE = Architecture(vocab_size=31, context_length=24, d_model=24, n_layers=2, n_heads=4)
END_OF_TEXT = 30
LABELS = ["ham", "spam", "other"]
CPU = Compute(torch.device("cpu"), "fp32")
SEED, BATCH_SIZE, EPOCHS = 3, 4, 5
SETTINGS = Training(
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    learning_rate=3e-3,
    weight_decay=0.2,
    schedule="constant",
    warmup_fraction=0,
    gradient_clip=None,
)
TOLERANCE = 1e-4
# 15 in batches of 4: an epoch ends with a batch of 3.
RANDOM = np.random.default_rng(0)
TEXTS = [RANDOM.integers(0, END_OF_TEXT, RANDOM.integers(2, 25)) for _ in range(15)]


def padded(texts: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask, both [batch, longest]."""
    longest = max(map(len, texts))
    input_ids = torch.tensor([[*text, *[END_OF_TEXT] * (longest - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return input_ids, mask


def reference_optimizer(model: PreTrainedModel) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.999), eps=1e-8)


def train_reference(model: Any, loss_of: Any) -> list[float]:
    """The loss of every step."""
    model.train()
    optimizer, losses = reference_optimizer(model), []
    lengths = np.array([len(text) for text in TEXTS])
    for epoch in range(EPOCHS):
        for indices in epoch_batches(lengths, BATCH_SIZE, SEED, epoch):
            optimizer.zero_grad()
            loss = loss_of(indices)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_language_model(micro_batch_size: int | None, tmp_path: Path) -> None:
    """Loss on all tokens, as transformers computes it from labels."""
    ours = new_language_model(SHAPE, torch.Generator().manual_seed(1))
    save_language_model(ours, tmp_path, END_OF_TEXT)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path)

    def loss_of(indices: np.ndarray) -> Tensor:
        input_ids, mask = padded([TEXTS[index] for index in indices])
        return theirs(input_ids, attention_mask=mask, labels=input_ids.masked_fill(mask == 0, -100)).loss

    expected = train_reference(theirs, loss_of)
    examples = LanguageExamples(TEXTS, np.ones(len(TEXTS), dtype=np.int64), END_OF_TEXT)
    nothing = LanguageExamples([], np.array([], dtype=np.int64), END_OF_TEXT)
    settings = SETTINGS.model_copy(update={"micro_batch_size": micro_batch_size})
    history = train(Setup("ours", ours, language_loss, examples, nothing, CPU, SEED), settings).history

    assert len(expected) == 20
    assert expected[-1] < expected[0] - 0.3
    assert [row.loss for row in history] == pytest.approx(expected, abs=TOLERANCE)
    input_ids, _ = padded(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(input_ids), theirs.eval()(input_ids).logits, rtol=0, atol=1e-3)


def test_classifier(tmp_path: Path) -> None:
    """The class is read from the last real token, in every company."""
    ours = new_classifier(SHAPE, len(LABELS), torch.Generator().manual_seed(1))
    save_classifier(ours, tmp_path, LABELS, END_OF_TEXT)
    theirs = GPT2ForSequenceClassification.from_pretrained(tmp_path)
    labels = np.arange(len(TEXTS)) % len(LABELS)

    def loss_of(indices: np.ndarray) -> Tensor:
        input_ids, mask = padded([TEXTS[index] for index in indices])
        logits = theirs(input_ids, attention_mask=mask).logits
        return functional.cross_entropy(logits, torch.tensor(labels[indices]))

    expected = train_reference(theirs, loss_of)
    examples = ClassificationExamples(TEXTS, labels, END_OF_TEXT)
    nothing = ClassificationExamples([], np.array([], dtype=np.int64), END_OF_TEXT)
    history = train(Setup("ours", ours, classification_loss, examples, nothing, CPU, SEED), SETTINGS).history

    assert len(expected) == 20
    assert expected[-1] < expected[0] - 0.3
    assert [row.loss for row in history] == pytest.approx(expected, abs=TOLERANCE)
