"""transformers' Trainer and generate, on our weights."""

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from benchmarks.turns import TRAINING, Side
from gptsmith.checkpoint.files import save_language_model
from gptsmith.model.heads import LanguageModel
from gptsmith.training.examples import IGNORED, LanguageExamples

NAME = "transformers"


def language_model(ours: LanguageModel, folder: Path, end_of_text: int) -> Any:
    """GPT2LMHeadModel with our weights, in evaluation mode."""
    save_language_model(ours, folder, end_of_text)
    transformers.logging.disable_progress_bar()
    return transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)


def trainer(
    model: Any,
    examples: LanguageExamples,
    folder: Path,
    *,
    batch_size: int,
    weight_decay: float,
    order: str,
    logged: bool,
    device: str,
    side: Side | None = None,
) -> transformers.Trainer:
    """An epoch of fine-tuning with the learning rate of the recipes, and nothing besides the training.

    Its own loss, on the labels that `examples` supervise; padded to the longest of a batch; AdamW in its fused form, as
    is its default. order: `random` or `sequential`; logged: keep the loss of every step, for which it computes in
    float32 on GPUs as well and does not clip.
    """
    sizes: deque[int] = deque()

    def collate(rows: Sequence[int]) -> dict[str, Tensor]:
        batch = _collate(examples, rows)
        sizes.append(batch["input_ids"].numel())
        return batch

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=5e-5,
        lr_scheduler_type="constant",
        weight_decay=weight_decay,
        max_grad_norm=0.0 if logged else 1.0,
        train_sampling_strategy=order,
        logging_strategy="steps" if logged else "no",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        use_cpu=device == "cpu",
        bf16=device == "cuda" and not logged,
    )
    callbacks: list[transformers.TrainerCallback] = [_Steps(side, sizes)] if side else []
    rows = list(range(len(examples.input_ids)))
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return transformers.Trainer(model, arguments, data_collator=collate, train_dataset=rows, callbacks=callbacks)


class _Steps(transformers.TrainerCallback):
    """Announces each step to a side. The data cannot: they are asked for a batch ahead of the step."""

    def __init__(self, side: Side, sizes: deque[int]) -> None:
        self.side = side
        self.sizes = sizes

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.side.begin(TRAINING, self.sizes.popleft())


def _collate(examples: LanguageExamples, rows: Sequence[int]) -> dict[str, Tensor]:
    """Token ids padded to the longest, and labels at the same places: the model itself shifts them by one."""
    texts = [torch.from_numpy(examples.input_ids[row].astype("int64")) for row in rows]
    labels = [text.clone() for text in texts]
    for label, row in zip(labels, rows, strict=True):
        label[: examples.first_targets[row]] = IGNORED
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones_like(text) for text in texts], batch_first=True)
    input_ids = pad(texts, batch_first=True, padding_value=examples.padding)
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "labels": pad(labels, batch_first=True, padding_value=IGNORED),
    }


def generate(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, batch_size: int) -> list[list[int]]:
    """Greedy responses in the order of `prompts`: batches of similar lengths, padded on the left, with cache."""
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    end_of_text = model.config.eos_token_id
    responses: dict[int, list[int]] = {}
    for start in range(0, len(prompts), batch_size):
        rows = by_length[start : start + batch_size]
        longest = len(prompts[rows[-1]])
        input_ids = torch.full((len(rows), longest), end_of_text)
        mask = torch.zeros_like(input_ids)
        for at, row in enumerate(rows):
            input_ids[at, longest - len(prompts[row]) :] = torch.tensor(prompts[row])
            mask[at, longest - len(prompts[row]) :] = 1
        answered = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=end_of_text,
        )[:, longest:]
        for row, tokens in zip(rows, answered.tolist(), strict=True):
            stop = tokens.index(end_of_text) if end_of_text in tokens else len(tokens)
            responses[row] = tokens[:stop]
    return [responses[row] for row in range(len(prompts))]
