"""The stage that fine-tunes a base model on one dataset, for classification or for instructions."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptsmith.checkpoint.adapter import save_adapter
from gptsmith.checkpoint.files import (
    classifier_from_language_model,
    load_language_model,
    save_classifier,
    save_language_model,
)
from gptsmith.config.runs import LoRAOnly, Run
from gptsmith.files import atomic_path
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.lora import merge_lora
from gptsmith.provenance import Stopwatch, write_provenance
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.history import write_history
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import classification_loss, language_loss
from gptsmith.training.tasks import classification_examples, instruction_examples
from gptsmith.training.trainable import select_trainable


@dataclass(frozen=True)
class FinetuneInputs:
    """Folders that a fine-tuning reads."""

    tokens: Path
    tokenizer: Path
    base: Path


@dataclass(frozen=True)
class FinetuneOutputs:
    """What it leaves: a checkpoint folder (weights, config, tokenizer) and two files."""

    checkpoint: Path
    history: Path
    provenance: Path


def finetune(
    name: str,
    run: Run,
    seed: int,
    compute: Compute,
    inputs: FinetuneInputs,
    outputs: FinetuneOutputs,
) -> None:
    """Train and write the checkpoint; LoRA is merged into its weights, with the adapter beside it.

    The task is that of the token files: classification where they hold labels, else instructions.
    """
    stopwatch = Stopwatch()
    tokenizer = load_tokenizer(inputs.tokenizer, inputs.tokenizer.name)
    splits = [read_tokens(inputs.tokens / f"{split}.parquet") for split in ("train", "validation")]
    check_same_tokenizer(splits[0], tokenizer)
    labels = splits[0].label_names
    generator = torch.Generator().manual_seed(seed)

    model: Classifier | LanguageModel
    if labels is not None:
        model = classifier_from_language_model(inputs.base, len(labels), generator)
    else:
        model = load_language_model(inputs.base)
    select_trainable(model, run.trainable, generator)
    set_dropout(model, run.training.dropout)
    context_length = model.architecture.context_length
    max_length = min(run.max_length or context_length, context_length)

    common: dict[str, Any] = {"title": f"{name}, seed {seed}", "compute": compute, "seed": seed}
    model.to(compute.device)
    if isinstance(model, Classifier):
        training, validation = (classification_examples(part, max_length, tokenizer.end_of_text) for part in splits)
        setup = Setup(model=model, objective=classification_loss, train=training, validation=validation, **common)
    else:
        training, validation = (
            instruction_examples(part, max_length, tokenizer.end_of_text, run.loss_on) for part in splits
        )
        setup = Setup(model=model, objective=language_loss, train=training, validation=validation, **common)
    history = train(setup, run.training)

    trainable_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    model.to("cpu")
    if isinstance(run.trainable, LoRAOnly):
        save_adapter(model, outputs.checkpoint / "adapter.safetensors")
        merge_lora(model)
    if isinstance(model, Classifier):
        save_classifier(model, outputs.checkpoint, labels, tokenizer.end_of_text)
    else:
        save_language_model(model, outputs.checkpoint, tokenizer.end_of_text)
    for file in ("vocab.json", "merges.txt"):
        with atomic_path(outputs.checkpoint / file) as temporary:
            shutil.copyfile(inputs.tokenizer / file, temporary)
    write_history(outputs.history, history)
    write_provenance(
        outputs.provenance,
        stopwatch,
        settings=run.model_dump(mode="json"),
        inputs=[*(part.path for part in splits), inputs.base / "model.safetensors"],
        seed=seed,
        device=str(compute.device),
        precision=compute.precision,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=trainable_parameters,
        truncated_texts=int((splits[0].lengths > max_length).sum()),
    )
