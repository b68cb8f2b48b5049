"""The stage that fine-tunes a base model on one dataset, for classification or for instructions."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch

from gptsmith.checkpoint.adapter import save_adapter
from gptsmith.checkpoint.configuration import FineTuning
from gptsmith.checkpoint.files import (
    classifier_from_language_model,
    load_language_model,
    save_classifier,
    save_language_model,
)
from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.config.runs import LoRAOnly, Run
from gptsmith.data.subsets import nested_subset
from gptsmith.files import atomic_path
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.lora import merge_lora
from gptsmith.provenance import Stopwatch, checksums, write_provenance
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokens import Tokens, check_same_tokenizer, read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.distributed import n_processes, rank
from gptsmith.training.examples import Batch, ChosenExamples, ClassificationExamples, Examples, LanguageExamples
from gptsmith.training.features import n_frozen_blocks, with_features
from gptsmith.training.history import write_history
from gptsmith.training.loop import Net, Setup, train
from gptsmith.training.objectives import Loss
from gptsmith.training.run_objectives import class_weights, classification_objective, instruction_objective
from gptsmith.training.speed import CountedExamples, Work, training_speed
from gptsmith.training.state import Saving, states_of
from gptsmith.training.tasks import classification_examples, instruction_examples
from gptsmith.training.trainable import select_trainable


@dataclass(frozen=True)
class FinetuneInputs:
    """Folders that a fine-tuning reads."""

    tokens: Path
    tokenizer: Path
    base: Path
    features: Path | None
    """What the frozen blocks make of the texts, where they are stored (gptsmith.training.features)."""


@dataclass(frozen=True)
class FinetuneOutputs:
    """What it leaves: a checkpoint folder (weights, config, tokenizer) and two files."""

    checkpoint: Path
    history: Path
    provenance: Path


@dataclass(frozen=True)
class Task(Generic[Net]):
    """What differs between the two kinds of fine-tuning."""

    model: Net
    objective: Callable[[Net, Batch], Loss]
    examples: Callable[[Tokens, int], ClassificationExamples | LanguageExamples]
    """From a split's tokens and the longest text in tokens."""
    save: Callable[[Path, FineTuning], None]


def classification_task(
    base: Path, run: Run, labels: list[str], seen: np.ndarray, end_of_text: int, generator: torch.Generator
) -> Task[Classifier]:
    """seen: int [examples], numbers in `labels` of what is trained on."""
    model = classifier_from_language_model(base, len(labels), generator)
    return Task(
        model,
        classification_objective(run, seen, len(labels)),
        partial(classification_examples, end_of_text=end_of_text),
        lambda folder, fine_tuning: save_classifier(model, folder, labels, end_of_text, fine_tuning),
    )


def instruction_task(base: Path, run: Run, end_of_text: int) -> Task[LanguageModel]:
    model = load_language_model(base)
    return Task(
        model,
        instruction_objective(run),
        partial(instruction_examples, end_of_text=end_of_text, loss_on=run.loss_on),
        lambda folder, fine_tuning: save_language_model(model, folder, end_of_text, fine_tuning),
    )


def finetune(
    name: str,
    run: Run,
    seed: int,
    compute: Compute,
    inputs: FinetuneInputs,
    outputs: FinetuneOutputs,
    saving: Saving | None = None,
    share: float = 1.0,
) -> None:
    """Train and write the checkpoint; LoRA is merged into its weights, with the adapter beside it.

    share: of the training split, chosen by the seed, the same of every class.

    A training that was broken off is taken up from its state, where `saving` says how they are kept.

    The task is that of the token files: classification where they hold labels, else instructions.
    """
    stopwatch = Stopwatch()
    tokenizer = load_tokenizer(inputs.tokenizer, inputs.tokenizer.name)
    splits = [read_tokens(inputs.tokens / f"{split}.parquet") for split in ("train", "validation")]
    check_same_tokenizer(splits[0], tokenizer)
    labels, generator = splits[0].label_names, torch.Generator().manual_seed(seed)
    task: Task[Any]  # one of two kinds, told apart by the data
    weighting: dict[str, Any] = {}
    if labels is not None:
        assert splits[0].labels is not None
        seen = splits[0].labels[nested_subset(splits[0].labels, share, seed)]
        if (weights := class_weights(run, seen, len(labels))) is not None:
            weighting = {"class_weights": dict(zip(labels, weights.tolist(), strict=True))}
        task = classification_task(inputs.base, run, labels, seen, tokenizer.end_of_text, generator)
    else:
        task = instruction_task(inputs.base, run, tokenizer.end_of_text)

    model: Classifier | LanguageModel = task.model
    select_trainable(model, run.trainable, generator)
    set_dropout(model, run.training.dropout)
    trainable_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    context_length = model.architecture.context_length
    max_length = min(run.max_length or context_length, context_length)
    work = Work(model)
    examples: list[Examples] = []
    for split, tokens in zip(("train", "validation"), splits, strict=True):
        texts = task.examples(tokens, max_length)
        read: Examples = texts
        if inputs.features is not None and run.trained_blocks is not None:
            n_blocks = n_frozen_blocks(model.trunk, run.trained_blocks)
            read = with_features(texts, inputs.features / f"{split}.npy", model.trunk, n_blocks)
        if split == "train":
            strata = texts.labels if isinstance(texts, ClassificationExamples) else np.zeros(len(texts.lengths), int)
            chosen = nested_subset(strata, share, seed)
            read = ChosenExamples(read, chosen)
            whole = tokens.lengths
            if tokens.prompt_lengths is not None:  # longer prompts are left out, not cut
                whole = whole[tokens.prompt_lengths <= max_length]
            truncated_texts = int((whole[chosen] > max_length).sum())
        examples.append(CountedExamples(read, work, learned_from=split == "train"))
    training, validation = examples
    settings = run.model_dump(mode="json")
    files = checksums(
        [*(part.path for part in splits), *(inputs.base / f for f in ("model.safetensors", "config.json"))]
    )
    inputs_read = list(files.values())
    states = (
        states_of(saving, compute, settings=settings, share=share, seed=seed, inputs=inputs_read) if saving else None
    )
    title = f"{name}, seed {seed}"
    setup = Setup[Any](title, model, task.objective, training, validation, compute, seed, work)
    course = train(setup, run.training, states)
    if rank() != 0:
        return

    model.to("cpu")
    adapter = outputs.checkpoint / "adapter.safetensors"
    if isinstance(run.trainable, LoRAOnly):
        save_adapter(model, adapter)
        merge_lora(model)
    else:
        adapter.unlink(missing_ok=True)  # of a training with other settings
    task.save(outputs.checkpoint, FineTuning.model_validate({"max_length": max_length, "prompt": splits[0].prompt}))
    for file in TOKENIZER_FILES:
        with atomic_path(outputs.checkpoint / file) as temporary:
            shutil.copyfile(inputs.tokenizer / file, temporary)
    write_history(outputs.history, course.history)
    write_provenance(
        outputs.provenance,
        stopwatch,
        settings=settings,
        inputs=files,
        seed=seed,
        device=str(compute.device),
        precision=compute.precision,
        threads=torch.get_num_threads(),
        processes=n_processes(),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=trainable_parameters,
        training_rows=len(training.lengths),
        truncated_texts=truncated_texts,
        resumed_after_steps=course.resumed_at,
        **weighting,
        **training_speed(work, course.history, compute),
    )
    if states is not None:
        states.remove()
