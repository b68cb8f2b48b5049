"""What a training step costs: that models take turns, and that memory is counted the same each time."""

import functools
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch._dynamo import config as dynamo

from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.models import Pretrain
from gptsmith.config.training import Training
from gptsmith.errors import UserError
from gptsmith.files import read_json
from gptsmith.generation import window_losses
from gptsmith.generation.window_losses import write_window_losses
from gptsmith.inspection.estimate import FEWEST_MEASURED, MEASURED_SECONDS, MEASURED_STEPS, SCORED_AT_ONCE
from gptsmith.model.block import TransformerBlock
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import token_schema
from gptsmith.training import step_costs
from gptsmith.training.compute import Compute
from gptsmith.training.examples import LanguageExamples, sliding_windows
from gptsmith.training.step_costs import BLOCKS, ROUNDS, WARM_UP, measure_steps, measure_variants

CPU = Compute(torch.device("cpu"), "fp32")
SHAPE = Architecture(vocab_size=257, context_length=12, d_model=16, n_layers=2, n_heads=2)
WIDER = SHAPE.model_copy(update={"d_feedforward": 256})
TRAINING = Training(batch_size=4)


def examples() -> LanguageExamples:
    return sliding_windows(np.random.default_rng(0).integers(0, 256, 400).astype(np.int32), 12, 12, 256)


def test_models_take_the_same_steps_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, tuple[int, ...]]] = []

    def begun(shape: Architecture, *_: object) -> step_costs._Begun:
        name = "wider" if shape.d_feedforward else "plain"
        return step_costs._Begun(lambda batch: taken.append((name, tuple(batch))), 1, 0)

    monkeypatch.setattr(step_costs, "_begun", begun)
    costs = measure_steps({"plain": SHAPE, "wider": WIDER}, examples(), TRAINING, CPU)
    # One step more of each, for the memory.
    assert Counter(name for name, _ in taken) == dict.fromkeys(("plain", "wider"), MEASURED_STEPS)
    assert MEASURED_STEPS == BLOCKS * (WARM_UP + ROUNDS) + 1
    # Two by two the same batch, and not always the same one first.
    pairs = list(zip(taken[::2], taken[1::2], strict=True))
    assert all(first[0] != second[0] and first[1] == second[1] for first, second in pairs)
    assert {first[0] for first, _ in pairs} == {"plain", "wider"}
    assert {name: np.shape(seconds) for name, seconds in costs.step_seconds.items()} == dict.fromkeys(
        ("plain", "wider"), (BLOCKS, ROUNDS)
    )
    assert np.shape(costs.step_tokens) == (BLOCKS, ROUNDS)
    assert {n for block in costs.step_tokens for n in block} <= {48, 39}  # the shorter with the last window


def test_slow_models_are_measured_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "SECONDS", 0.0)
    costs = measure_steps({"plain": SHAPE}, examples(), TRAINING, CPU)
    assert len(costs.step_tokens) == len(costs.step_seconds["plain"]) == step_costs.FEWEST_BLOCKS


def test_the_estimate_knows_where_measuring_ends() -> None:
    assert step_costs.FEWEST_BLOCKS / BLOCKS == FEWEST_MEASURED
    assert step_costs.SECONDS == MEASURED_SECONDS
    assert window_losses.BATCH_SIZE == SCORED_AT_ONCE


def test_old_models_are_gone_before_new_ones_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "SECONDS", 0.0)
    built: list[weakref.ref[nn.Module]] = []
    alive: list[int] = []

    def new(shape: Architecture, generator: torch.Generator) -> nn.Module:
        alive.append(sum(model() is not None for model in built))
        model = new_language_model(shape, generator)
        built.append(weakref.ref(model))
        return model

    monkeypatch.setattr(step_costs, "new_language_model", new)
    measure_steps({"plain": SHAPE, "wider": WIDER}, examples(), TRAINING, CPU)
    assert alive == [0, 1] * step_costs.FEWEST_BLOCKS


def test_memory_is_counted_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "SECONDS", 0.0)
    shapes = {"plain": SHAPE, "wider": WIDER, "rotary": SHAPE.model_copy(update={"position": "rotary"})}
    first, second = (measure_steps(shapes, examples(), TRAINING, CPU) for _ in range(2))
    assert first.step_bytes == second.step_bytes
    assert first.parameters == {name: shape.n_parameters for name, shape in shapes.items()}
    plain, wider = first.step_bytes["plain"], first.step_bytes["wider"]
    assert plain is not None
    assert wider is not None
    # Weights, gradients and two moments of what is added at the least, and what each position keeps of it.
    added = 4 * 4 * (WIDER.n_parameters - SHAPE.n_parameters)
    assert plain > 4 * 4 * SHAPE.n_parameters
    assert wider - plain > added
    kept = 4 * 4 * 12 * SHAPE.n_layers * (256 - 64)
    assert wider - plain < added + 8 * kept


def test_what_is_released_is_not_counted_twice() -> None:
    def step(_: np.ndarray) -> None:
        for _ in range(5):
            torch.empty(1000)
        both = torch.empty(1000), torch.empty(500)
        del both

    found = step_costs._most_bytes(step_costs._Begun(step, 10, 7), np.array([0]), torch.device("cpu"))
    assert found == 4 * 1500 + 4 * 3 * 10 + 7


# ---- the stages ---------------------------------------------------------------------------------------


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tokenizer(train(["bytes alone"], 257), tmp_path / "bytes")
    return load_tokenizer(tmp_path / "bytes", "bytes")


def write_tokens(path: Path, texts: list[str], tokenizer: Tokenizer) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": list(range(len(texts))), "input_ids": [list(text.encode()) for text in texts]}
    pq.write_table(pa.table(columns, schema=token_schema("text", tokenizer, None, None)), path)
    return path


def test_each_token_counts_once_in_the_losses_of_windows(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(1))
    save_language_model(model, tmp_path / "model", tokenizer.end_of_text)
    files = [write_tokens(tmp_path / f"{n}" / "test.parquet", ["some words here", "more"], tokenizer) for n in range(2)]
    write_window_losses(tmp_path / "model", tokenizer, files, 12, CPU, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pydict()
    stream = [*b"some words here", 256, *b"more", 256] * 2
    assert sum(found["target_tokens"]) == len(stream) - 1
    for number, start in enumerate(range(0, len(stream) - 1, 12)):
        ids = torch.tensor(stream[start : start + 13])
        with torch.no_grad():
            expected = nn.functional.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="sum")
        assert found["negative_log_likelihood"][number] == pytest.approx(expected.item(), rel=1e-5)
    empty = write_tokens(tmp_path / "empty" / "test.parquet", [], tokenizer)
    with pytest.raises(UserError, match="no text; give one of the datasets a larger split"):
        write_window_losses(tmp_path / "model", tokenizer, [empty], 12, CPU, tmp_path / "none.parquet")


def test_the_measuring_takes_the_vocabulary_of_the_tokenizer(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_costs, "SECONDS", 0.0)
    write_tokens(tmp_path / "books" / "train.parquet", ["some words here, and many more of them"] * 9, tokenizer)
    plan = Pretrain(datasets=["books"], training=TRAINING)
    large = SHAPE.model_copy(update={"vocab_size": 50257})
    measure_variants(plan, {"baseline": large}, CPU, tmp_path / "bytes", tmp_path, tmp_path / "steps.json")
    found = read_json(tmp_path / "steps.json")
    assert found["parameters"] == {"baseline": SHAPE.n_parameters}
    assert found["cache_bytes"] == {"baseline": 4 * 2 * 2 * 16}
    assert {"platform", "inputs", "threads", "step_seconds"} <= found.keys()


def test_blocks_of_all_shapes_stay_compiled(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_costs, "SECONDS", 0.0)
    # Whether it compiles anew is the question here, not what is made of it.
    monkeypatch.setattr(TransformerBlock, "compile", functools.partialmethod(nn.Module.compile, backend="eager"))
    write_tokens(tmp_path / "books" / "train.parquet", ["some words here, and many more of them"] * 9, tokenizer)
    plan, compute = Pretrain(datasets=["books"], training=TRAINING), Compute(CPU.device, "fp32", compile="always")
    changes: list[dict[str, object]] = [{}, {"norm": "rms_norm"}, {"activation": "relu"}, {"bias": False}]
    shapes = {str(change): SHAPE.model_copy(update={"n_layers": 1, **change}) for change in changes}
    with dynamo.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        measure_variants(plan, shapes, compute, tmp_path / "bytes", tmp_path, tmp_path / "steps.json")
        assert dynamo.recompile_limit == 2
    torch.compiler.reset()
