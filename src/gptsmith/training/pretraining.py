"""The stages that make a base model here: pretrained from scratch, or random as it is."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.models import Model
from gptsmith.errors import UserError
from gptsmith.model.dropout import set_dropout
from gptsmith.model.initialization import new_language_model
from gptsmith.provenance import Stopwatch, checksums, write_provenance
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.distributed import n_processes, rank
from gptsmith.training.history import write_history
from gptsmith.training.loop import Setup, train
from gptsmith.training.objectives import language_loss
from gptsmith.training.speed import CountedExamples, Work, training_speed
from gptsmith.training.state import Saving, states_of
from gptsmith.training.tasks import pretraining_windows


@dataclass(frozen=True)
class PretrainOutputs:
    """The checkpoint folder and the two files beside its weights."""

    checkpoint: Path
    history: Path
    provenance: Path


def pretrain(
    name: str,
    settings: Model,
    seed: int,
    compute: Compute,
    tokenizer_folder: Path,
    tokens_folder: Path,
    outputs: PretrainOutputs,
    saving: Saving | None = None,
) -> None:
    """Next-token prediction from random weights, on the training splits of `settings.pretrain.datasets`.

    `name` is shown with the progress. `tokens_folder` has a folder for each of them. The vocabulary's size is that of
    the tokenizer. A training that was broken off is taken up from its state, where `saving` says how they are kept.
    Raises UserError when there is no text.
    """
    assert settings.architecture is not None
    assert settings.pretrain is not None
    stopwatch, plan, architecture = Stopwatch(), settings.pretrain, settings.architecture
    tokenizer = load_tokenizer(tokenizer_folder, tokenizer_folder.name)
    splits = {
        split: [read_tokens(tokens_folder / dataset / f"{split}.parquet") for dataset in plan.datasets]
        for split in ("train", "validation")
    }
    for tokens in splits["train"]:
        check_same_tokenizer(tokens, tokenizer)
    window = plan.window or architecture.context_length
    training, validation = (
        pretraining_windows(files, window, plan.stride or window, tokenizer.end_of_text) for files in splits.values()
    )
    if not training.input_ids:
        raise UserError(f"{tokens_folder}: no text to pretrain on")
    model = new_language_model(
        architecture.model_copy(update={"vocab_size": tokenizer.vocab_size}), torch.Generator().manual_seed(seed)
    )
    set_dropout(model, plan.training.dropout)
    work, plain_settings = Work(model), settings.model_dump(mode="json")
    files = checksums([tokens.path for parts in splits.values() for tokens in parts])
    states = (
        states_of(saving, compute, settings=plain_settings, seed=seed, inputs=list(files.values())) if saving else None
    )
    course = train(
        Setup(
            title=f"pretraining {name}",
            model=model,
            objective=language_loss,
            train=CountedExamples(training, work, learned_from=True),
            validation=CountedExamples(validation, work, learned_from=False),
            compute=compute,
            seed=seed,
            work=work,
        ),
        plan.training,
        states,
    )
    if rank() != 0:
        return
    save_language_model(model.to("cpu"), outputs.checkpoint, tokenizer.end_of_text)
    write_history(outputs.history, course.history)
    write_provenance(
        outputs.provenance,
        stopwatch,
        settings=plain_settings,
        inputs=files,
        seed=seed,
        device=str(compute.device),
        precision=compute.precision,
        threads=torch.get_num_threads(),
        processes=n_processes(),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=sum(p.numel() for p in model.parameters()),
        resumed_after_steps=course.resumed_at,
        **training_speed(work, course.history, compute),
    )
    if states is not None:
        states.remove()


def write_random_model(architecture: Architecture, seed: int, tokenizer_folder: Path, checkpoint: Path) -> None:
    """A base model that has learned nothing."""
    tokenizer = load_tokenizer(tokenizer_folder, tokenizer_folder.name)
    architecture = architecture.model_copy(update={"vocab_size": tokenizer.vocab_size})
    model = new_language_model(architecture, torch.Generator().manual_seed(seed))
    save_language_model(model, checkpoint, tokenizer.end_of_text)
