"""Two runs on the same items: McNemar's test against its definition, and the file of all pairs."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.comparisons import compare_classifications, compare_instructions
from gptsmith.evaluation.mcnemar import mcnemar

SETTINGS = Evaluation(bootstrap_samples=300)
ROWS = 120


def counted(only_first: int, only_second: int, both: int = 3) -> tuple[np.ndarray, np.ndarray]:
    first = [True] * (only_first + both) + [False] * only_second
    second = [False] * only_first + [True] * (both + only_second)
    return np.array(first, bool), np.array(second, bool)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_mcnemar_is_a_fair_coin_and_symmetric(one: int, other: int, both: int) -> None:
    result, swapped = mcnemar(*counted(one, other, both)), mcnemar(*counted(one, other, both)[::-1])
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1)) / 2**n
    assert (result.only_first, result.only_second) == (one, other)
    assert result.p_value == pytest.approx(min(1.0, 2 * tail))
    assert (swapped.only_first, swapped.only_second, swapped.p_value) == (other, one, pytest.approx(result.p_value))


def test_mcnemar_by_hand() -> None:
    assert mcnemar(*counted(1, 9)).p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(*counted(0, 0)).p_value == 1


def predictions(skill: float, seed: int, path: Path) -> Path:
    """A third is spam; the more skill, the more of the answers are right."""
    generator = np.random.default_rng(seed)
    is_spam = np.arange(ROWS) % 3 == 0
    score = 1 / (1 + np.exp(-(skill * (2 * is_spam - 1) + generator.normal(size=ROWS))))
    frame = pd.DataFrame({"id": np.arange(ROWS), "split": "test", "label": np.where(is_spam, "spam", "ham")})
    frame["prediction"] = np.where(score > 0.5, "spam", "ham")
    frame.assign(probability_ham=1 - score, probability_spam=score).to_parquet(path)
    return path


def compare(folder: Path, runs: dict[str, list[Path]]) -> dict[str, Any]:
    compare_classifications("sms", runs, "spam", SETTINGS, folder / "comparisons.json")
    return json.loads((folder / "comparisons.json").read_text())


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, list[Path]]:
    skills = {"strong": (2.0, 2.0), "weak": (0.3,), "same": (2.0, 2.0)}
    return {
        run: [predictions(skill, seed, tmp_path / f"{run}-{seed}.parquet") for seed, skill in enumerate(by_seed)]
        for run, by_seed in skills.items()
    }


def test_every_pair_is_compared_on_the_same_items(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    found = compare(tmp_path, runs)
    assert (found["dataset"], found["rows"], found["confidence"]) == ("sms", ROWS, 0.95)
    assert [pair["runs"] for pair in found["pairs"]] == [["strong", "weak"], ["strong", "same"], ["weak", "same"]]
    better, equal, worse = found["pairs"]

    frames = {run: [pd.read_parquet(path) for path in paths] for run, paths in runs.items()}
    right = {
        run: (np.mean([f["probability_spam"] for f in seeds], axis=0) > 0.5) == (seeds[0]["label"] == "spam")
        for run, seeds in frames.items()
    }
    assert better["mcnemar"]["only_first"] == (right["strong"] & ~right["weak"]).sum()
    assert better["mcnemar"]["only_second"] == (right["weak"] & ~right["strong"]).sum()
    assert better["mcnemar"]["p_value"] < 0.01
    accuracy = {run: np.mean([(f["label"] == f["prediction"]).mean() for f in seeds]) for run, seeds in frames.items()}
    difference = better["differences"]["accuracy"]
    assert difference["difference"] == pytest.approx(accuracy["strong"] - accuracy["weak"])
    assert 0 < difference["low"] < difference["high"]
    assert better["differences"]["log_loss"]["high"] < 0

    assert equal["mcnemar"] == {"only_first": 0, "only_second": 0, "p_value": 1.0}
    assert equal["differences"]["f1"] == {"difference": 0, "low": 0, "high": 0}
    assert worse["differences"]["accuracy"]["high"] == pytest.approx(-difference["low"])


def test_runs_of_different_items_are_refused(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    other = pd.read_parquet(runs["weak"][0])
    other[other["id"] != 4].to_parquet(runs["weak"][0])
    with pytest.raises(UserError, match=r"weak-0\.parquet: not about the items of .*strong-0\.parquet"):
        compare(tmp_path, runs)
    assert not (tmp_path / "comparisons.json").exists()


def responses(right: int, loss: float, path: Path, tokens: int = 1) -> Path:
    lines = [
        {
            "id": n,
            "instruction": "Is it?",
            "input": "",
            "category": "",
            "reference": "yes",
            "response": "yes" if n < right else "no",
            "finish_reason": "stop",
            "negative_log_likelihood": loss,
            "target_tokens": tokens,
        }
        for n in range(40)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_instruction_runs_are_compared_without_mcnemar(tmp_path: Path) -> None:
    runs = {
        "short": [responses(10, 2.0, tmp_path / "short.jsonl")],
        "long": [responses(30, 1.0, tmp_path / "long.jsonl"), responses(34, 1.0, tmp_path / "long-2.jsonl")],
    }
    compare_instructions("questions", runs, SETTINGS, tmp_path / "comparisons.json")
    (pair,) = json.loads((tmp_path / "comparisons.json").read_text())["pairs"]
    assert set(pair) == {"runs", "differences"}
    assert pair["differences"]["exact_match"]["difference"] == pytest.approx(10 / 40 - 32 / 40)
    assert pair["differences"]["exact_match"]["high"] < 0
    assert pair["differences"]["loss"] == {"difference": 1.0, "low": 1.0, "high": 1.0}


def test_the_loss_of_other_tokens_is_not_compared(tmp_path: Path) -> None:
    runs = {name: [responses(10, 2.0, tmp_path / f"{name}.jsonl", tokens)] for name, tokens in (("a", 1), ("b", 2))}
    compare_instructions("questions", runs, SETTINGS, tmp_path / "comparisons.json")
    (pair,) = json.loads((tmp_path / "comparisons.json").read_text())["pairs"]
    assert set(pair["differences"]) == {"exact_match", "rouge_l", "chrf"}
