"""Fine-tuning all parameters on the instructions, 124M, an epoch at batch 8: chapter 7 of llms-from-scratch, the
Trainer of transformers, and ours with the loss on all tokens and on the response only.

Compared are the training steps. The peers' work does not depend on which tokens have a loss (llms-from-scratch has no
such choice), so each has one time. What a recipe evaluates is left out: chapter 7's ten batches every five steps.
"""

from functools import partial
from typing import Literal

import numpy as np
import torch
from llms_from_scratch import ch05

from benchmarks.agreement import STEPS, our_losses, require_agreement
from benchmarks.batches import SEED, Announced, shuffled_sizes, training_sizes
from benchmarks.data import Data, load_data
from benchmarks.floors import fine_tuning_floor
from benchmarks.machine import clock_of, faster, measure
from benchmarks.peers import llms_from_scratch, transformers
from benchmarks.row import Row
from benchmarks.settings import Settings
from benchmarks.turns import TRAINING, Side, count, is_whole, take_turns, whole_seconds
from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.config.runs import Run
from gptsmith.config.training import Training
from gptsmith.model.heads import LanguageModel
from gptsmith.training.compute import Compute, choose_compute
from gptsmith.training.examples import LanguageExamples, common_beginning, epoch_batches
from gptsmith.training.finetuning import Task, instruction_task
from gptsmith.training.loop import Setup, train
from gptsmith.training.pretraining import write_random_model

BATCH_SIZE = llms_from_scratch.BATCH_SIZE
TRAINING_SETTINGS = Training(epochs=1, batch_size=BATCH_SIZE, learning_rate=5e-5, weight_decay=0.1)
# By what has a loss: the ratio wanted.
GOALS: dict[Literal["all", "response"], float] = {"all": 1.3, "response": 2.0}


def run(settings: Settings, architecture: Architecture = GPT2_SIZES["gpt2-small"]) -> list[Row]:
    compute = choose_compute(settings.device, "auto", settings.threads)
    data, before = load_data("instruction", settings), measure(settings.device)
    agreements = {
        llms_from_scratch.NAME: _compare_with_llms_from_scratch(data, settings, architecture),
        transformers.NAME: _compare_with_trainer(data, settings, architecture),
    }

    write_random_model(architecture, SEED, data.tokenizer_folder, settings.folder / "base")
    tasks = {loss_on: _task(data, settings, loss_on) for loss_on in GOALS}
    examples = {loss_on: _examples(task, data, "train") for loss_on, task in tasks.items()}
    nothing = _no_examples(data)
    start = tasks["all"].model
    their_model = llms_from_scratch.language_model(start).to(compute.device)
    trainer_model = transformers.language_model(start, settings.folder / "theirs", data.tokenizer.end_of_text)
    their_rows = {split: llms_from_scratch.instruction_dataset(data.rows[split], data.tokenizer) for split in data.rows}

    def train_ours(loss_on: Literal["all", "response"], side: Side) -> None:
        model = tasks[loss_on].model.to(compute.device)
        announced = Announced(examples[loss_on], model, side)
        train(Setup(loss_on, model, tasks[loss_on].objective, announced, nothing, compute, SEED), TRAINING_SETTINGS)
        side.end()

    def train_with_trainer(side: Side) -> None:
        transformers.trainer(
            trainer_model,
            examples["response"],
            settings.folder / "trainer",
            batch_size=BATCH_SIZE,
            weight_decay=llms_from_scratch.WEIGHT_DECAY,
            order="random",
            logged=False,
            device=settings.device,
            side=side,
        ).train()
        side.end()

    timings = take_turns(
        {
            "all": partial(train_ours, "all"),
            "response": partial(train_ours, "response"),
            llms_from_scratch.NAME: lambda side: llms_from_scratch.fine_tune(
                their_model, their_rows["train"], their_rows["validation"], data.tokenizer, settings.device, side
            ),
            transformers.NAME: train_with_trainer,
        },
        settings.seconds_a_side,
        clock_of(settings.device),
    )
    machine = faster(before, measure(settings.device))

    lengths = examples["all"].lengths
    our_sizes = training_sizes(lengths, BATCH_SIZE, epochs=1)
    sizes = {
        "all": our_sizes,
        "response": our_sizes,
        llms_from_scratch.NAME: shuffled_sizes(lengths, BATCH_SIZE, drop_last=True),
        transformers.NAME: shuffled_sizes(lengths + 1, BATCH_SIZE, drop_last=False),
    }
    seconds = {name: whole_seconds(timings[name], TRAINING, sizes[name]) for name in sizes}
    peers = {llms_from_scratch.NAME: "chapter 7", transformers.NAME: "Trainer"}
    batches = [lengths[batch] for batch in epoch_batches(lengths, BATCH_SIZE, SEED, 0)]
    shared = common_beginning(examples["all"].input_ids)
    parameters = f"{architecture.n_parameters / 1e6:.0f}M"
    rows = []
    for loss_on, goal in GOALS.items():
        supervised = int((lengths + 1 - examples[loss_on].first_targets).sum())
        what = "all tokens" if loss_on == "all" else "the response"
        floor = fine_tuning_floor(architecture, batches, supervised, shared, machine)
        for peer, recipe in peers.items():
            sides = {"ours": loss_on, "theirs": peer}
            steps = " and ".join(
                f"{count(timings[name], TRAINING)} of {len(sizes[name])} steps of {whose}"
                for whose, name in sides.items()
            )
            rows.append(
                Row(
                    f"{parameters}, instructions, an epoch, loss on {what}",
                    seconds[loss_on],
                    f"{peer}, {recipe}",
                    seconds[peer],
                    floor,
                    goal,
                    extrapolated=not all(is_whole(timings[name], TRAINING, sizes[name]) for name in sides.values()),
                    notes=f"{agreements[peer]}; {steps} run; training steps alone",
                )
            )
    return rows


def _task(data: Data, settings: Settings, loss_on: Literal["all", "response"]) -> Task[LanguageModel]:
    run = Run(dataset="instructions", model="gpt2-small", loss_on=loss_on, training=TRAINING_SETTINGS)
    return instruction_task(settings.folder / "base", run, data.tokenizer.end_of_text)


def _examples(task: Task[LanguageModel], data: Data, split: str) -> LanguageExamples:
    model: LanguageModel = task.model
    examples = task.examples(data.tokens[split], model.architecture.context_length)
    assert isinstance(examples, LanguageExamples)
    return examples


def _no_examples(data: Data) -> LanguageExamples:
    return LanguageExamples([], np.zeros(0, dtype=np.int64), data.tokenizer.end_of_text)


def _first_examples(examples: LanguageExamples, batch_size: int) -> LanguageExamples:
    """Enough for the steps whose losses are compared."""
    n = STEPS * batch_size
    return LanguageExamples(examples.input_ids[:n], examples.first_targets[:n], examples.padding)


def _compare_with_llms_from_scratch(data: Data, settings: Settings, architecture: Architecture) -> str:
    """Loss on all tokens, with a head of its own on our side too."""
    untied = architecture.model_copy(update={"tie_embeddings": False})
    write_random_model(untied, SEED, data.tokenizer_folder, settings.folder / "base")
    ours, batch_size = _task(data, settings, "all"), _compared_batch_size(settings)
    examples = _first_examples(_examples(ours, data, "train"), batch_size)
    theirs = llms_from_scratch.language_model(ours.model).to(settings.device)
    collate = llms_from_scratch.collate(settings.device)
    # Their collating appends the end of text itself.
    batches = epoch_batches(examples.lengths, batch_size, SEED, 0)
    loader = [collate([examples.input_ids[row][:-1].tolist() for row in batch]) for batch in batches]
    optimizer = llms_from_scratch.optimizer(theirs, weight_decay=0.0)
    with llms_from_scratch.recorded_losses(ch05) as their_losses:
        ch05.train_model_simple(
            theirs, loader, [], optimizer, settings.device, 1, STEPS, 1, "Below", data.tokenizer.encoding
        )
    compute = Compute(torch.device(settings.device), "fp32")
    our = our_losses(ours.model.to(compute.device), ours.objective, examples, _no_examples(data), compute, batch_size)
    return require_agreement(f"all tokens, against {llms_from_scratch.NAME}", our, their_losses)


def _compare_with_trainer(data: Data, settings: Settings, architecture: Architecture) -> str:
    """Loss on the response."""
    write_random_model(architecture, SEED, data.tokenizer_folder, settings.folder / "base")
    ours, batch_size = _task(data, settings, "response"), _compared_batch_size(settings)
    examples = _first_examples(_examples(ours, data, "train"), batch_size)
    theirs = transformers.language_model(ours.model, settings.folder / "theirs", data.tokenizer.end_of_text)
    order = np.concatenate(epoch_batches(examples.lengths, batch_size, SEED, 0))
    in_order = LanguageExamples(
        [examples.input_ids[row] for row in order], examples.first_targets[order], examples.padding
    )
    trainer = transformers.trainer(
        theirs,
        in_order,
        settings.folder / "trainer",
        batch_size=batch_size,
        weight_decay=0.0,
        order="sequential",
        logged=True,
        device=settings.device,
    )
    trainer.train()
    their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    compute = Compute(torch.device(settings.device), "fp32")
    our = our_losses(ours.model.to(compute.device), ours.objective, examples, _no_examples(data), compute, batch_size)
    return require_agreement(f"on the response, against {transformers.NAME}", our, their_losses)


def _compared_batch_size(settings: Settings) -> int:
    return 2 if settings.quick else BATCH_SIZE
