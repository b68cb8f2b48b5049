"""The training loop: what a step computes, which weights are kept, and what is recorded."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gptsmith.config.architecture import Architecture
from gptsmith.config.runs import LastBlocks, LoRA, LoRAOnly, Trainable
from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.model.dropout import set_dropout
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.training.compute import Compute, choose_compute
from gptsmith.training.distributed import Objective
from gptsmith.training.examples import Batch, ClassificationExamples, Examples, LanguageExamples
from gptsmith.training.history import HistoryRow
from gptsmith.training.loop import TRAIN_ROWS, Setup, evaluate, train
from gptsmith.training.objectives import Loss, classification_loss, language_loss
from gptsmith.training.optimizer import learning_rate
from gptsmith.training.trainable import select_trainable

SHAPE = Architecture(vocab_size=11, context_length=12, d_model=16, n_layers=2, n_heads=2, tie_embeddings=False)
CPU = Compute(torch.device("cpu"), "fp32")
CONSTANT: dict[str, Any] = {"schedule": "constant", "warmup_fraction": 0, "learning_rate": 1e-2}


def classifier() -> Classifier:
    return new_classifier(SHAPE, 2, torch.Generator().manual_seed(1))


def language_model() -> LanguageModel:
    return new_language_model(SHAPE, torch.Generator().manual_seed(1))


def texts(n: int, seed: int, shortest: int = 1) -> list[np.ndarray]:
    """Random ones of very different lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 10, random.integers(shortest, 13)) for _ in range(n)]


def labelled(n: int, seed: int = 0) -> ClassificationExamples:
    """The class says whether the first token is below 5."""
    chosen = texts(n, seed)
    return ClassificationExamples(chosen, np.array([ids[0] < 5 for ids in chosen], dtype=np.int64), 10)


def sentences(n: int, seed: int = 0) -> LanguageExamples:
    """Of some, one token is learned; of others up to eleven."""
    chosen = texts(n, seed, shortest=2)
    return LanguageExamples(chosen, np.array([1 if len(ids) > 6 else len(ids) - 1 for ids in chosen]), 10)


Kind = tuple[Callable[[], Any], Callable[[Any, Batch], Loss], Callable[[int], Examples]]
KINDS = pytest.mark.parametrize(
    "kind",
    [(classifier, classification_loss, labelled), (language_model, language_loss, sentences)],
    ids=["classification", "language"],
)


def setup(kind: Kind, n: int = 40, seed: int = 1) -> Setup[Any]:
    new_model, objective, examples = kind
    return Setup("tiny", new_model(), objective, examples(n), examples(0), CPU, seed)


def validation_loss(job: Setup[Any]) -> float:
    return evaluate(Objective(job.model, job.objective), job.validation, job.compute, batch_size=16).loss


def rows(history: list[HistoryRow], split: str) -> list[HistoryRow]:
    return [row for row in history if row.split == split]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are not the same to the last bit."""
    assert first.keys() == second.keys()
    return {name for name in first if not torch.equal(first[name], second[name])}


# ---- a step --------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_micro_batches_give_what_the_whole_batch_gives(kind: Kind, micro_batch_size: int) -> None:
    """Also where an epoch's last batch is smaller (13 = 8 + 5) and texts have different numbers of targets."""
    whole, parts = setup(kind, n=13), setup(kind, n=13)
    for each in (whole, parts):
        each.model.double()  # the loss itself is computed in float32
    plan = Training(epochs=3, batch_size=8, **CONSTANT)
    expected = train(whole, plan).history
    found = train(parts, plan.model_copy(update={"micro_batch_size": micro_batch_size})).history
    assert len(found) == len(expected) == 6
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)
        assert (ours.accuracy, ours.tokens) == (theirs.accuracy, theirs.tokens)
    if isinstance(whole.model, Classifier):
        batch = labelled(20, seed=9).batch(range(20))
        outputs = [each.model(batch.input_ids, batch.lengths) for each in (whole, parts)]
    else:
        outputs = [each.model(sentences(20, seed=9).batch(range(20)).input_ids) for each in (whole, parts)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-3, atol=1e-4)


def test_without_examples_there_is_nothing_to_train_on() -> None:
    with pytest.raises(UserError, match=r"^tiny: no examples to train on$"):
        train(setup((classifier, classification_loss, labelled), n=0), Training())


@KINDS
def test_the_gradient_is_that_of_the_mean_over_targets(kind: Kind) -> None:
    job = setup(kind, n=7)
    model, objective, examples = kind
    reference = model()
    batch = examples(7).batch(range(7))
    loss = objective(reference, batch).total / batch.n_targets
    loss.backward()
    norm = torch.sqrt(sum((p.grad.square().sum() for p in reference.parameters()), torch.tensor(0.0)))
    [row] = train(job, Training(epochs=1, batch_size=7, gradient_clip=1e-3, **CONSTANT)).history
    assert row.loss == pytest.approx(loss.item(), rel=1e-5)
    assert row.grad_norm == pytest.approx(norm.item(), rel=1e-5)  # before clipping


def test_a_gradient_above_the_limit_is_scaled_down() -> None:
    gradients: list[float] = []
    job = setup((classifier, classification_loss, labelled), n=8)
    clip = nn.utils.clip_grad_norm_

    def spy(parameters: list[nn.Parameter], limit: float) -> Tensor:
        norm = clip(parameters, limit)
        gradients.append(math.sqrt(sum(p.grad.square().sum().item() for p in parameters if p.grad is not None)))
        return norm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.utils, "clip_grad_norm_", spy)
        history = train(job, Training(epochs=2, batch_size=8, gradient_clip=0.01, **CONSTANT)).history
        assert gradients == pytest.approx([0.01, 0.01], rel=1e-3)
        assert all(row.grad_norm is not None and row.grad_norm > 0.02 for row in history)
        gradients.clear()
        history = train(job, Training(epochs=2, batch_size=8, gradient_clip=None, **CONSTANT)).history
        assert gradients == pytest.approx([row.grad_norm for row in history])


@KINDS
def test_a_tiny_model_learns_a_tiny_task(kind: Kind) -> None:
    _, objective, _ = kind
    if objective is classification_loss:
        job = setup(kind, n=200)
    else:
        # Two tokens alternate: after both have been seen, the next is certain.
        pairs = itertools.permutations(range(10), 2)
        chosen = [np.array([a, b] * 4) for a, b in pairs]
        data = LanguageExamples(chosen, np.full(len(chosen), 2), 10)
        job = Setup("tiny", language_model(), language_loss, data, sentences(0), CPU, 1)
    history = train(job, Training(epochs=20, batch_size=10, learning_rate=1e-2)).history
    assert history[0].loss > 0.6
    assert history[-1].loss < 0.1


# ---- seeds ---------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_seed_decides_every_bit(dropout: float, kind: Kind) -> None:
    states = []
    for seed in (1, 1, 2):
        job = setup(kind, seed=seed)
        set_dropout(job.model, dropout)
        train(job, Training(epochs=2, batch_size=8, **CONSTANT))
        torch.rand(3)  # what was drawn before does not matter
        states.append(state_of(job.model))
    assert differing(states[0], states[1]) == set()
    assert differing(states[0], states[2])


def test_a_seed_decides_the_dropout_too() -> None:
    """All examples in one batch: there is no order that could differ but that within the batch."""
    losses = []
    for seed in (1, 2):
        job = setup((classifier, classification_loss, labelled), n=8, seed=seed)
        set_dropout(job.model, 0.5)
        losses.append(train(job, Training(epochs=1, batch_size=8, **CONSTANT)).history[0].loss)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


# ---- validation ----------------------------------------------------------------------------------


def overfitting() -> Setup[Any]:
    """Training says that a token decides the class, one in four of the validation texts says the opposite: the more
    certain the model, the worse, after it has been better for a while."""
    tokens = [np.array([n]) for n in range(8)] * 2
    labels = np.array([n % 2 for n in range(8)] * 2)
    contradicted = np.where(np.arange(16) % 4 == 0, 1 - labels, labels)
    training = ClassificationExamples(tokens, labels, 10)
    validation = ClassificationExamples(tokens, contradicted, 10)
    return Setup("overfitting", classifier(), classification_loss, training, validation, CPU, 1)


def test_the_weights_of_the_lowest_validation_loss_are_kept() -> None:
    job = overfitting()
    history = train(job, Training(epochs=60, batch_size=16, evaluations=60, **CONSTANT)).history
    losses = [row.loss for row in rows(history, "validation")]
    best = losses.index(min(losses))
    assert 0 < best < 40
    assert losses[-1] > 1.5 * losses[best]  # the task does what it is for
    assert validation_loss(job) == losses[best]
    # Exactly those of a training that ended there.
    shorter = overfitting()
    train(shorter, Training(epochs=best, batch_size=16, evaluations=1, **CONSTANT))
    assert differing(state_of(job.model), state_of(shorter.model)) == set()


def test_a_training_that_only_makes_it_worse_changes_nothing() -> None:
    job = overfitting()
    before = state_of(job.model)
    worse = ClassificationExamples(job.validation.input_ids, 1 - job.train.labels, 10)  # type: ignore[attr-defined]
    job = Setup("worse", job.model, job.objective, job.train, worse, CPU, 1)
    history = train(job, Training(epochs=5, batch_size=16, **CONSTANT)).history
    losses = [row.loss for row in rows(history, "validation")]
    assert losses == sorted(losses)
    assert differing(state_of(job.model), before) == set()


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_a_training_that_gets_no_better(patience: int) -> None:
    job = overfitting()
    settings = Training(epochs=60, batch_size=16, evaluations=60, patience=patience, **CONSTANT)
    history = train(job, settings).history
    validation = rows(history, "validation")
    best = min(range(len(validation)), key=lambda index: validation[index].loss)
    assert len(validation) == best + patience + 1
    assert history[-1].step == validation[-1].step < 60
    assert validation_loss(job) == validation[best].loss


def test_without_validation_the_last_weights_are_kept() -> None:
    job = setup((classifier, classification_loss, labelled))
    history = train(job, Training(epochs=3, batch_size=8, patience=1, **CONSTANT)).history
    assert [row.split for row in history] == ["train"] * 15
    batch = job.train.batch(range(40))
    assert classification_loss(job.model, batch).total.item() / 40 < history[0].loss


def test_dropout_is_for_training_only() -> None:
    seen: list[tuple[bool, bool]] = []

    def objective(model: Classifier, batch: Batch) -> Loss:
        seen.append((model.training, torch.is_grad_enabled()))
        return classification_loss(model, batch)

    model = classifier()
    set_dropout(model, 0.5)
    job = Setup("tiny", model.eval(), objective, labelled(16), labelled(16, seed=5), CPU, 1)
    batch = job.validation.batch(range(16))
    with torch.no_grad():
        expected = classification_loss(classifier().eval(), batch).total.item() / 16
    history = train(job, Training(epochs=2, batch_size=16, evaluations=2, **CONSTANT)).history
    assert history[0].loss == pytest.approx(expected, rel=1e-5)
    evaluation, step = (False, False), (True, True)
    assert seen == [evaluation, step, evaluation, step, evaluation]
    seen.clear()
    train(Setup("tiny", model.eval(), objective, labelled(16), labelled(0), CPU, 1), Training(epochs=2, batch_size=16))
    assert seen == [step, step]


# ---- trouble -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_validation", "epochs", "step"),
    [(0, 4, "2 of 4"), (8, 4, "1 of 4"), (0, 1, "1 of 1"), (8, 1, "1 of 1")],
)
def test_a_loss_that_is_no_number_is_the_users_to_mend(n_validation: int, epochs: int, step: str) -> None:
    """The first step does it. The next one sees it, or a validation in between, or, last of all, the end."""
    job = Setup("tiny", classifier(), classification_loss, labelled(8), labelled(n_validation), CPU, 1)
    settings = Training(epochs=epochs, batch_size=8, evaluations=epochs, **CONSTANT | {"learning_rate": 1e38})
    with pytest.raises(UserError, match=rf"tiny: the loss is no longer a finite number at step {step}; lower training"):
        train(job, settings)


# ---- frozen parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainable", "trained"),
    [
        ("all", "trunk.|head.|score."),
        ("head", "head.|score."),
        (LastBlocks(last_blocks=1), "trunk.blocks.1.|trunk.final_norm.|score."),
        (LastBlocks(last_blocks=2), "trunk.blocks.|trunk.final_norm.|score."),
        (LoRAOnly(lora=LoRA(rank=2, alpha=4)), ".a|.b|score."),
    ],
    ids=str,
)
@KINDS
def test_what_is_frozen_stays_to_the_last_bit(kind: Kind, trainable: Trainable, trained: str) -> None:
    job = setup(kind)
    job = Setup("tiny", job.model, job.objective, job.train, job.train, CPU, 1)
    select_trainable(job.model, trainable, torch.Generator().manual_seed(2))
    before = state_of(job.model)
    train(job, Training(epochs=1, batch_size=8, weight_decay=0.5, **CONSTANT))
    is_lora = isinstance(trainable, LoRAOnly)
    parts = tuple(trained.split("|"))
    expected = {name for name in before if name.startswith(parts) or (is_lora and name.endswith((".a", ".b")))}
    assert expected
    assert differing(state_of(job.model), before) == expected


# ---- history -------------------------------------------------------------------------------------


def test_the_history_has_every_step_of_a_short_training() -> None:
    training, validation = labelled(20), labelled(6, seed=5)
    job = Setup("tiny", classifier(), classification_loss, training, validation, CPU, 1)
    plan = Training(epochs=2.5, batch_size=8, evaluations=4, learning_rate=1e-2)
    history = train(job, plan).history
    n_steps = 8  # 2.5 epochs of 3 steps, rounded to even

    steps = rows(history, "train")
    assert [row.step for row in steps] == list(range(1, n_steps + 1))
    assert [row.epoch for row in steps] == pytest.approx([step / 3 for step in range(1, n_steps + 1)])
    assert [row.learning_rate for row in steps] == [learning_rate(step, n_steps, plan) for step in range(n_steps)]
    assert all(row.grad_norm is not None and row.grad_norm > 0 for row in steps)
    assert all(row.accuracy is not None and 0 <= row.accuracy <= 1 for row in steps)
    assert steps[2].tokens == training.lengths.sum()
    assert steps[5].tokens == 2 * training.lengths.sum()

    measured = rows(history, "validation")
    assert [row.step for row in measured] == [0, 2, 4, 6, 8]
    assert measured[0].tokens == 0
    assert measured[-1].tokens == steps[-1].tokens
    assert all(row.learning_rate is None and row.grad_norm is None for row in measured)
    for row in measured:
        assert row.accuracy is not None
        assert (row.accuracy * 6) == pytest.approx(round(row.accuracy * 6))
    assert [row.seconds for row in history] == sorted(row.seconds for row in history)
    assert [row.step for row in history] == sorted(row.step for row in history)


def test_language_models_have_no_accuracy() -> None:
    job = Setup("tiny", language_model(), language_loss, sentences(8), sentences(8, seed=5), CPU, 1)
    history = train(job, Training(epochs=1, batch_size=4, **CONSTANT)).history
    assert {row.accuracy for row in history} == {None}


class Weight(nn.Module):
    """The smallest model there is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


def test_a_long_training_is_recorded_in_means() -> None:
    seen: list[tuple[float, int]] = []

    def objective(model: Weight, batch: Batch) -> Loss:
        total = (model.weight - batch.input_ids[:, 0]).square().sum()
        seen.append((total.item(), batch.n_targets))
        return Loss(total, None)

    job = Setup("long", Weight(), objective, labelled(7), labelled(0), CPU, 1)
    n_steps = 3 * TRAIN_ROWS + 2
    history = train(job, Training(epochs=n_steps / 2, batch_size=4, **CONSTANT)).history
    assert len(seen) == n_steps
    assert [row.step for row in history] == [*range(3, n_steps, 3), n_steps]
    for row, start in zip(history, range(0, n_steps, 3), strict=True):
        part = seen[start : start + 3]
        assert row.loss == pytest.approx(sum(total for total, _ in part) / sum(n for _, n in part))


@pytest.mark.parametrize(("epochs", "n_steps"), [(0.01, 1), (0.5, 2), (1, 5), (1.4, 7)])
def test_epochs_need_not_be_whole(epochs: float, n_steps: int) -> None:
    history = train(setup((classifier, classification_loss, labelled)), Training(epochs=epochs, batch_size=8)).history
    assert history[-1].step == n_steps


# ---- where it runs -------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    threads = torch.get_num_threads()
    assert choose_compute("auto", "auto", threads) == CPU
    for device in ("cuda", "mps"):
        with pytest.raises(UserError, match=rf"execution\.device: {device} is not available on this machine"):
            choose_compute(device, "auto", threads)


def test_in_bf16_the_weights_stay_float32() -> None:
    compute = choose_compute("cpu", "bf16", torch.get_num_threads())
    job = setup((classifier, classification_loss, labelled))
    exact = train(job, Training(epochs=1, batch_size=8, **CONSTANT)).history
    job = Setup("tiny", classifier(), classification_loss, labelled(40), labelled(0), compute, 1)
    rounded = train(job, Training(epochs=1, batch_size=8, **CONSTANT)).history
    assert {parameter.dtype for parameter in job.model.parameters()} == {torch.float32}
    assert rounded[0].loss != exact[0].loss
    assert rounded[0].loss == pytest.approx(exact[0].loss, rel=0.02)


def test_the_progress_shows_the_loss_of_the_last_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """Also right after a row of the history was written, when nothing has been added up yet."""
    history = train(setup((classifier, classification_loss, labelled), n=8), Training(epochs=1, batch_size=8)).history
    assert f"step 1/1, loss {history[0].loss:.3f}, " in capsys.readouterr().err
