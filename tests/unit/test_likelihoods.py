"""The stage that scores the references of a split."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.generation.likelihood import response_likelihood
from gptsmith.generation.likelihoods import write_likelihoods
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.tokenizer.tokens import token_schema
from gptsmith.training.compute import Compute

CPU = Compute(torch.device("cpu"), "fp32")
SHAPE = Architecture(vocab_size=257, context_length=12, d_model=16, n_layers=2, n_heads=2)
ROWS = {3: ("say", "it"), 5: ("say nothing", "no"), 8: ("a", ""), 9: ("exactly", "twelv")}  # 5 is too long by one


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tokenizer(train(["bytes alone"], 257), tmp_path)
    return load_tokenizer(tmp_path, "bytes")


def write_tokens(path: Path, rows: dict[int, tuple[str, str]], tokenizer: Tokenizer) -> Path:
    columns = {
        "id": list(rows),
        "input_ids": [[*prompt.encode(), *response.encode()] for prompt, response in rows.values()],
        "prompt_length": [len(prompt) for prompt, _ in rows.values()],
    }
    pq.write_table(pa.table(columns, schema=token_schema("instruction", tokenizer, None, "compact")), path)
    return path


def test_each_item_that_fits_is_scored(
    tmp_path: Path, tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    model = new_language_model(SHAPE, torch.Generator().manual_seed(1))
    save_language_model(model, tmp_path / "model", tokenizer.end_of_text)
    tokens = write_tokens(tmp_path / "validation.parquet", ROWS, tokenizer)
    write_likelihoods(tmp_path / "model", tokenizer, tokens, CPU, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert found["id"] == [3, 8, 9]
    assert found["target_tokens"] == [3, 1, 6]
    prompts, responses = zip(*(map(str.encode, ROWS[item]) for item in found["id"]), strict=True)
    expected = response_likelihood(model.eval(), prompts, responses, tokenizer.end_of_text, 1, found["id"])
    assert found["negative_log_likelihood"] == pytest.approx([nll for nll, _ in expected], rel=1e-5)
    assert "1 items left out, longer than the model's context" in capsys.readouterr().err


def test_a_split_without_an_item_that_fits_is_an_error(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_language_model(
        new_language_model(SHAPE, torch.Generator().manual_seed(1)), tmp_path / "model", tokenizer.end_of_text
    )
    tokens = write_tokens(tmp_path / "validation.parquet", {5: ROWS[5]}, tokenizer)
    with pytest.raises(UserError, match="no item that fits the model's context"):
        write_likelihoods(tmp_path / "model", tokenizer, tokens, CPU, tmp_path / "out.parquet")
