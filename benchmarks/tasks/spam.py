"""Fine-tuning the last block on the spam messages, 124M: chapter 6 of llms-from-scratch and ours, evaluations included.

Both get the same rows, batch size, epochs, learning rate and weight decay. What differs on our side: the frozen blocks
run once over every text, the last block for the last real token alone, texts are batched with others of their length,
and evaluations are on whole splits. A further seed of ours finds what the frozen blocks made of the texts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llms_from_scratch import ch06

from benchmarks.agreement import STEPS, our_losses, require_agreement
from benchmarks.batches import SEED, Announced, evaluation_sizes, training_sizes
from benchmarks.data import Data, load_data
from benchmarks.floors import features_floor, last_block_floor
from benchmarks.machine import clock_of, faster, measure
from benchmarks.peers import llms_from_scratch as peer
from benchmarks.row import Row
from benchmarks.settings import Settings
from benchmarks.turns import EVALUATION, FEATURES, TRAINING, Side, Timing, count, is_whole, take_turns, whole_seconds
from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.config.runs import LastBlocks, Run
from gptsmith.config.training import Training
from gptsmith.data.prepared import SPLITS
from gptsmith.generation.predictions import BATCH_SIZE, classify
from gptsmith.model.heads import Classifier
from gptsmith.training.compute import Compute, choose_compute
from gptsmith.training.examples import ClassificationExamples, epoch_batches
from gptsmith.training.features import n_frozen_blocks, with_features, write_features
from gptsmith.training.finetuning import Task, classification_task
from gptsmith.training.loop import Setup, train
from gptsmith.training.pretraining import write_random_model
from gptsmith.training.progress import progress
from gptsmith.training.trainable import select_trainable

EPOCHS = peer.CLASSIFIER_EPOCHS
RUN = Run(
    dataset="sms-spam",
    model="gpt2-small",
    trainable=LastBlocks(last_blocks=1),
    max_length=peer.MAX_LENGTH,
    training=Training(epochs=EPOCHS, batch_size=peer.BATCH_SIZE, learning_rate=5e-5, weight_decay=0.1),
)

# The texts that the losses are compared on are cut to this many tokens, so that none is padded.
COMPARED_LENGTH = 16


def run(settings: Settings, architecture: Architecture = GPT2_SIZES["gpt2-small"]) -> list[Row]:
    compute = choose_compute(settings.device, "auto", settings.threads)
    data, before = load_data("classification", settings), measure(settings.device)
    datasets = peer.spam_datasets(data.rows, data.tokenizer, settings.folder)
    write_random_model(architecture, SEED, data.tokenizer_folder, settings.folder / "base")
    agreement = _compare_losses(data, settings)

    task = _task(data, settings)
    theirs = peer.classifier(task.model).to(compute.device)
    task.model.to(compute.device)
    timings = take_turns(
        {
            "ours": lambda side: _fine_tune(task, data, settings, compute, side),
            "theirs": lambda side: peer.fine_tune_classifier(theirs, datasets, settings.device, side),
        },
        settings.seconds_a_side,
        clock_of(settings.device),
    )
    machine = faster(before, measure(settings.device))

    lengths = {split: _examples(task, data, split).lengths for split in SPLITS}
    batch_size, evaluations = RUN.training.batch_size, RUN.training.evaluations + 1
    our_sizes = {
        TRAINING: training_sizes(lengths["train"], batch_size, EPOCHS),
        EVALUATION: evaluation_sizes(lengths["validation"], batch_size) * evaluations
        + evaluation_sizes(lengths["validation"], BATCH_SIZE)
        + evaluation_sizes(lengths["test"], BATCH_SIZE),
    }
    their_sizes = peer.classifier_sizes(datasets)
    features = whole_seconds(timings["ours"], FEATURES, [0] * len(SPLITS))
    further_seed, our_part = _seconds(timings["ours"], our_sizes)
    theirs_seconds, their_part = _seconds(timings["theirs"], their_sizes)

    evaluated = np.concatenate([*[lengths["validation"]] * (evaluations + 1), lengths["test"]])
    further_floor = last_block_floor(architecture, lengths["train"], evaluated, EPOCHS, batch_size, machine)
    first_floor = features_floor(architecture, list(lengths.values()), machine) + further_floor
    our_steps = f"{count(timings['ours'], TRAINING)} of {len(our_sizes[TRAINING])} steps of ours run"
    return [
        Row(
            f"{architecture.n_parameters / 1e6:.0f}M, spam, last block, {EPOCHS} epochs with evaluations",
            features + further_seed,
            f"{peer.NAME}, chapter 6",
            theirs_seconds,
            first_floor,
            goal=15.0,
            extrapolated=our_part or their_part,
            notes=f"{agreement}; {our_steps}, {count(timings['theirs'], TRAINING)} of {len(their_sizes[TRAINING])} of "
            f"theirs; theirs pads texts to {peer.MAX_LENGTH} tokens; the frozen blocks take {features:.3g} s of ours",
        ),
        Row(
            "the same, a further seed",
            further_seed,
            "our first seed",
            features + further_seed,
            further_floor,
            goal=4.0,
            extrapolated=our_part,
            notes=our_steps,
        ),
    ]


def _task(data: Data, settings: Settings) -> Task[Classifier]:
    generator = torch.Generator().manual_seed(SEED)
    tokens = data.tokens["train"]
    assert tokens.label_names is not None
    assert tokens.labels is not None
    task = classification_task(
        settings.folder / "base", RUN, tokens.label_names, tokens.labels, data.tokenizer.end_of_text, generator
    )
    select_trainable(task.model, RUN.trainable, generator)
    return task


def _examples(task: Task[Classifier], data: Data, split: str) -> Any:
    return task.examples(data.tokens[split], peer.MAX_LENGTH)


def _fine_tune(task: Task[Classifier], data: Data, settings: Settings, compute: Compute, side: Side) -> None:
    """What the pipeline's stages do: features, training with its evaluations, predictions."""
    announced = {}
    for split in SPLITS:
        tokens, output = data.tokens_folder / f"{split}.parquet", settings.folder / f"{split}.npy"
        side.begin(FEATURES, 0)
        write_features(settings.folder / "base", tokens, 1, RUN.max_length, np.inf, compute, output)
        side.end()
        frozen = n_frozen_blocks(task.model.trunk, 1)
        examples = with_features(_examples(task, data, split), output, task.model.trunk, frozen)
        announced[split] = Announced(examples, task.model, side)
    train(
        Setup("spam", task.model, task.objective, announced["train"], announced["validation"], compute, SEED),
        RUN.training,
    )
    side.end()
    for split in ("validation", "test"):
        with progress(split, len(data.tokens[split]), "text") as advance:
            classify(task.model, announced[split], compute, advance)
        side.end()


def _seconds(timings: Sequence[Timing], sizes: dict[str, list[int]]) -> tuple[float, bool]:
    """Seconds of the whole, and whether any of it is extrapolated."""
    seconds = sum(whole_seconds(timings, kind, batches) for kind, batches in sizes.items())
    return seconds, not all(is_whole(timings, kind, batches) for kind, batches in sizes.items())


def _compare_losses(data: Data, settings: Settings) -> str:
    """On texts of one length, where reading the last position and the last real token is the same, and without the bias
    that their new head has besides ours."""
    device, batch_size = torch.device(settings.device), peer.BATCH_SIZE
    ours = _task(data, settings)
    theirs: Any = peer.classifier(ours.model).to(device)
    theirs.out_head.bias.requires_grad_(False)
    tokens = data.tokens["train"]
    assert tokens.labels is not None
    rows = [row for row in range(len(tokens)) if len(tokens[row]) >= COMPARED_LENGTH][: STEPS * batch_size]
    examples = ClassificationExamples(
        [tokens[row][:COMPARED_LENGTH] for row in rows], tokens.labels[rows], data.tokenizer.end_of_text
    )
    nothing = ClassificationExamples([], tokens.labels[:0], data.tokenizer.end_of_text)
    batches = [examples.batch(indices) for indices in epoch_batches(examples.lengths, batch_size, SEED, 0)]
    loader = [(batch.input_ids, batch.targets) for batch in batches]
    with peer.recorded_losses(ch06) as their_losses:
        ch06.train_classifier_simple(
            theirs, loader, loader, peer.optimizer(theirs, weight_decay=0.0), device, 1, eval_freq=STEPS, eval_iter=1
        )
    compute = Compute(device, "fp32")
    our = our_losses(ours.model.to(device), ours.objective, examples, nothing, compute, batch_size)
    return require_agreement(f"spam against {peer.NAME}", our, their_losses)
