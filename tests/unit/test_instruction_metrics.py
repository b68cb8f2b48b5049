"""Metrics of responses, against values worked out by hand."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.instructions import evaluate_instructions, read_responses


def response(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "instruction": "Name the capital.",
        "input": "",
        "category": "",
        "reference": "Paris",
        "response": "Paris",
        "finish_reason": "stop",
        "negative_log_likelihood": 2.0,
        "target_tokens": 1,
    } | changes


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluate(folder: Path, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    evaluate_instructions(write(folder / "responses.jsonl", rows), Evaluation(), folder / "metrics.json")
    return json.loads((folder / "metrics.json").read_text())


def test_metrics_file(tmp_path: Path) -> None:
    second = response(7, response="It is Paris", negative_log_likelihood=6.0, target_tokens=3)
    metrics = evaluate(tmp_path, [response(1), second])
    assert set(metrics) == {"test_rows"} | {
        f"test_{name}{end}"
        for name in ("loss", "perplexity", "exact_match", "rouge_l", "chrf")
        for end in ("", "_low", "_high")
    }
    assert metrics["test_rows"] == 2
    assert metrics["test_loss"] == 2  # 8 nats over 4 tokens
    assert metrics["test_perplexity"] == pytest.approx(math.exp(2))
    assert (metrics["test_exact_match"], metrics["test_exact_match_low"], metrics["test_exact_match_high"]) == (
        0.5,
        0,
        1,
    )
    assert metrics["test_rouge_l"] == pytest.approx((1 + 0.5) / 2)


def test_loss_is_a_token_not_an_item(tmp_path: Path) -> None:
    metrics = evaluate(tmp_path, [response(1, negative_log_likelihood=9.0), response(2, target_tokens=9)])
    assert metrics["test_loss"] == pytest.approx(11 / 10)
    assert (metrics["test_loss_low"], metrics["test_loss_high"]) == pytest.approx((2 / 9, 9))  # either item twice


def test_perplexity_beyond_floating_point_is_null(tmp_path: Path) -> None:
    metrics = evaluate(tmp_path, [response(1, negative_log_likelihood=1e6)])
    assert metrics["test_loss"] == 1e6
    assert metrics["test_perplexity"] is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no responses"),
        ([response(1), response(2, negative_log_likelihood=math.nan)], "line 2: negative_log_likelihood"),
        ([response(1, target_tokens=0)], "line 1: target_tokens"),
        ([response(1), {"id": 2, "category": ""}], "line 2: reference: Field required"),
        ([response(1), response(2), response(1)], "line 3: id 1 occurs twice"),
    ],
)
def test_responses_that_break_the_contract(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path, rows)
    assert not (tmp_path / "metrics.json").exists()


def test_line_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "responses.jsonl", [response(1), response(2)])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match=r"responses\.jsonl, line 2: line: Invalid JSON"):
        read_responses(path)


def test_unicode_line_separators_do_not_end_a_line(tmp_path: Path) -> None:
    rows = [response(1, response="one\u2028two\x85three"), response(2)]
    assert list(read_responses(write(tmp_path / "responses.jsonl", rows))["response"]) == [
        "one\u2028two\x85three",
        "Paris",
    ]
