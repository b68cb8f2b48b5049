"""The operations that are counted are those that torch is seen to do, where nothing is padded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gptsmith.config.architecture import Architecture
from gptsmith.model.accounting import cache_bytes, weight_bytes
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.model.kv_cache import KeyValueCache
from gptsmith.training.compute import Compute
from gptsmith.training.examples import Batch, ClassificationExamples, LanguageExamples
from gptsmith.training.history import HistoryRow
from gptsmith.training.objectives import classification_loss, language_loss_shared
from gptsmith.training.speed import CountedExamples, Work, matmul_rate, training_speed

# Explicit attention, because torch counts its products; wide enough that those are a small part.
SHAPE = Architecture(vocab_size=96, context_length=16, d_model=64, n_layers=3, n_heads=2, attention="explicit")
TEXTS = [np.arange(start, start + 11, dtype=np.int32) for start in (1, 30, 60)]


def language_batch(n_shared: int, first_target: int) -> Batch:
    texts = [np.concatenate([np.arange(n_shared, dtype=np.int32), text[n_shared:]]) for text in TEXTS]
    return LanguageExamples(texts, np.full(3, first_target), padding=0).batch([0, 1, 2])


def seen(model: LanguageModel | Classifier, objective: object, batch: Batch) -> int:
    model.zero_grad()
    with FlopCounterMode(display=False) as counter:
        objective(model, batch).total.backward()  # type: ignore[operator]
    return counter.get_total_flops()


def counted(model: LanguageModel | Classifier, batch: Batch) -> int:
    work = Work(model)
    work.add(batch, learned_from=True)
    return work.flops


@pytest.mark.parametrize("first_target", [1, 6])
@pytest.mark.parametrize("n_shared", [0, 4])
def test_a_language_models_work(n_shared: int, first_target: int) -> None:
    model, batch = new_language_model(SHAPE, torch.Generator().manual_seed(0)), language_batch(n_shared, first_target)
    assert batch.n_shared == n_shared
    # Products with masked scores are done, and not needed: the little that is seen and not counted.
    assert counted(model, batch) == pytest.approx(seen(model, language_loss_shared, batch), rel=0.05)


@pytest.mark.parametrize("trained_blocks", [0, 1, 3])
def test_a_classifiers_work_above_frozen_blocks(trained_blocks: int) -> None:
    model = new_classifier(SHAPE, 2, torch.Generator().manual_seed(0))
    model.trunk.requires_grad_(False)
    for block in list(model.trunk.blocks)[3 - trained_blocks :]:
        block.requires_grad_(True)
    batch = ClassificationExamples(TEXTS, np.array([0, 1, 0]), padding=0).batch([0, 1, 2])
    found = seen(model, classification_loss, batch)
    assert counted(model, batch) == pytest.approx(found, rel=0.05)
    with torch.no_grad():
        hidden = model.trunk.lower(batch.input_ids, 3 - trained_blocks)
    stored = replace(batch, hidden=hidden, n_blocks=3 - trained_blocks)
    assert counted(model, stored) == pytest.approx(seen(model, classification_loss, stored), rel=0.05)
    if trained_blocks < 3:
        assert counted(model, stored) < 0.7 * counted(model, batch)


def test_padding_is_no_work() -> None:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(0))
    texts = [np.arange(n, dtype=np.int32) + 10 * n for n in (3, 11)]
    examples = LanguageExamples(texts, np.array([1, 1]), padding=0)
    assert counted(model, examples.batch([0, 1])) == sum(counted(model, examples.batch([n])) for n in (0, 1))


def test_batches_are_counted_as_they_are_made() -> None:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(0))
    examples = LanguageExamples(TEXTS, np.ones(3, dtype=np.int64), padding=0)
    work = Work(model)
    learned, looked_at = CountedExamples(examples, work, True), CountedExamples(examples, work, False)
    assert learned.lengths.tolist() == [10, 10, 10]
    learned.batch([0])
    backward_too = work.flops
    looked_at.batch([0])
    assert work.flops - backward_too == pytest.approx(backward_too / 3, rel=0.02)


def test_speed_is_a_share_of_the_measured_rate() -> None:
    compute = Compute(torch.device("cpu"), "fp32")
    work = Work(new_language_model(SHAPE, torch.Generator().manual_seed(0)))
    work.flops = 4_000_000_000
    row = HistoryRow(1, 1.0, "train", 1.0, None, None, None, tokens=50, seconds=2.0)
    speed = training_speed(work, [row], compute)
    assert speed["tokens_per_second"] == 25
    assert speed["gflops_per_second"] == 2
    share = speed["gflops_per_second"] / speed["matmul_gflops_per_second"]
    assert speed["fraction_of_matmul_rate"] == pytest.approx(share, abs=1e-4)
    assert matmul_rate(compute) > 1e6


def test_bytes_are_those_of_the_tensors() -> None:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(0))
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "position" not in name]
    assert weight_bytes(SHAPE) == sum(p.numel() * p.element_size() for p in matrices)
    cache = KeyValueCache(SHAPE, batch=1, length=1)
    with torch.inference_mode():
        model(torch.zeros(1, 1, dtype=torch.int64), cache)
    assert cache_bytes(SHAPE) == sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
