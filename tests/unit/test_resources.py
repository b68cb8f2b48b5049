"""What stages ask a cluster for."""

import pytest

from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.config.training import Training
from gptsmith.scheduling.resources import (
    data_memory_mb,
    inference_memory_mb,
    inference_minutes,
    near_duplicates_memory_mb,
    training_memory_mb,
    training_minutes,
    weights_memory_mb,
)

SMALL, XL = GPT2_SIZES["gpt2-small"], GPT2_SIZES["gpt2-xl"]
TINY = Architecture(vocab_size=300, context_length=64, d_model=16, n_layers=2, n_heads=2)


def test_training_of_gpt2_small_fits_a_usual_node() -> None:
    """Weights six times are 3.0 GB; 8 x 1024 tokens in 12 blocks keep 6.6 GB."""
    assert training_memory_mb(SMALL, Training(), 1024, 1) == pytest.approx(2500 + 1000 + 2986 + 6644, abs=5)


def test_what_takes_more_memory() -> None:
    plain = training_memory_mb(SMALL, Training(), 256, 1)
    assert training_memory_mb(SMALL, Training(batch_size=32), 256, 1) > plain
    assert training_memory_mb(SMALL, Training(batch_size=32, micro_batch_size=8), 256, 1) == plain
    assert training_memory_mb(SMALL, Training(), 512, 1) > plain
    assert training_memory_mb(SMALL, Training(), 256, 2) > plain
    assert training_memory_mb(XL, Training(), 256, 1) > plain
    assert inference_memory_mb(XL, 64, 256) > inference_memory_mb(SMALL, 64, 256) > inference_memory_mb(SMALL, 8, 256)
    assert weights_memory_mb(XL) > weights_memory_mb(SMALL)
    assert data_memory_mb(1000) > data_memory_mb(1)


def test_near_duplicates_take_kilobytes_a_row() -> None:
    """A million rows of 200 bytes."""
    assert near_duplicates_memory_mb(200) == 7000


def test_a_tiny_model_asks_for_little() -> None:
    assert training_memory_mb(TINY, Training(), 64, 1) < 4000
    assert inference_memory_mb(TINY, 64, 64) < 3000
    assert (training_minutes(TINY), inference_minutes(TINY)) == (60, 60)


def test_no_job_asks_for_more_than_a_day() -> None:
    assert training_minutes(SMALL) == 309
    assert training_minutes(XL) == 24 * 60
