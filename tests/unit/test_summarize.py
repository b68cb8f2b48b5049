"""Summaries over seeds: the contract's keys, what the numbers are, and files that do not belong together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gptsmith.config.evaluation import Evaluation
from gptsmith.errors import UserError
from gptsmith.evaluation.classification import METRICS, RATES, evaluate_classification
from gptsmith.evaluation.collect import collect_metrics
from gptsmith.evaluation.instructions import evaluate_instructions
from gptsmith.evaluation.summarize import summarize_classification, summarize_instructions

SETTINGS = Evaluation(bootstrap_samples=300)
INTERVAL = {"low", "high"}


def predict(accuracy: float, seed: int) -> pd.DataFrame:
    """90 test and 30 validation items, a third of them spam, predicted right with the probability `accuracy`."""
    generator = np.random.default_rng(seed)
    label = np.where(np.arange(120) % 3 == 0, "spam", "ham")
    is_spam = (label == "spam") == (generator.random(120) < accuracy)
    probability = np.where(is_spam, 0.5, 0.0) + generator.random(120) / 2
    return pd.DataFrame(
        {
            "id": np.arange(120),
            "split": ["test"] * 90 + ["validation"] * 30,
            "label": label,
            "prediction": np.where(is_spam, "spam", "ham"),
            "probability_ham": 1 - probability,
            "probability_spam": probability,
        }
    )


def baseline(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["split"] == "test"].drop(columns="split").assign(baseline=name)


def classification_files(folder: Path) -> dict[str, Any]:
    paths = {seed: folder / f"seed-{seed}.parquet" for seed in (7, 1)}
    for seed, path in paths.items():
        predict(0.95, seed).to_parquet(path)
    majority = predict(0.5, 5).assign(prediction="ham", probability_ham=2 / 3, probability_spam=1 / 3)
    rivals = [baseline("majority", majority), baseline("tfidf_logistic_regression", predict(0.95, 1))]
    pd.concat(rivals).to_parquet(folder / "baselines.parquet")
    return {"predictions": paths, "baselines": folder / "baselines.parquet"}


def summarize_spam(folder: Path, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "run": "spam",
        "dataset": "sms",
        "model": "small",
        "positive_label": "spam",
        "near_copies": None,
        "settings": SETTINGS,
        "output": folder / "summary.json",
    }
    summarize_classification(**arguments | changes)
    return json.loads((folder / "summary.json").read_text())


def test_classification_summary(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    summary = summarize_spam(tmp_path, **files)
    about: dict[str, Any] = {"run": "spam", "task": "classification", "dataset": "sms", "model": "small"}
    about |= {"seeds": [1, 7], "rows": 90, "confidence": 0.95}
    assert {key: summary[key] for key in about} == about
    assert set(summary) == set(about) | {
        *("metrics", "validation", "baselines", "comparisons", "classes", "threshold", "without_near_copies")
    }

    by_seed: dict[str, dict[str, float]] = {}
    for seed, path in files["predictions"].items():
        evaluate_classification(path, "spam", SETTINGS, tmp_path / "metrics.json")
        by_seed[str(seed)] = json.loads((tmp_path / "metrics.json").read_text())
    assert set(summary["metrics"]) == set(summary["validation"]) == set(METRICS)
    for name, metric in summary["metrics"].items():
        assert set(metric) == {"mean", "standard_deviation", "by_seed"} | INTERVAL
        assert metric["by_seed"] == {seed: by_seed[seed][f"test_{name}"] for seed in ("1", "7")}
        first, second = metric["by_seed"].values()
        assert metric["mean"] == pytest.approx((first + second) / 2)
        assert metric["standard_deviation"] == pytest.approx(abs(first - second) / 2**0.5)
        assert metric["low"] <= metric["mean"] <= metric["high"]
        validation = summary["validation"][name]
        assert validation["by_seed"] == {seed: by_seed[seed][f"validation_{name}"] for seed in ("1", "7")}
        assert validation["mean"] == pytest.approx(np.mean(list(validation["by_seed"].values())))

    assert set(summary["baselines"]) == {"majority", "tfidf_logistic_regression"}
    for metrics in summary["baselines"].values():
        assert set(metrics) == set(METRICS)
        assert all(set(metric) == {"value"} | INTERVAL for metric in metrics.values())
    assert summary["baselines"]["majority"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert summary["baselines"]["majority"]["f1"] == {"value": 0, "low": 0, "high": 0}
    assert summary["baselines"]["majority"]["roc_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}

    comparisons = {(row["metric"], row["against"]): row for row in summary["comparisons"]}
    assert set(comparisons) == {(metric, against) for metric in METRICS for against in summary["baselines"]}
    for (metric, against), row in comparisons.items():
        assert set(row) == {"metric", "against", "difference"} | INTERVAL
        theirs = summary["baselines"][against][metric]["value"]
        assert row["difference"] == pytest.approx(summary["metrics"][metric]["mean"] - theirs)
    assert comparisons["accuracy", "majority"]["low"] > 0

    assert list(summary["classes"]) == ["ham", "spam"]
    for label, entry in summary["classes"].items():
        assert set(entry) == {"rows", *RATES, "baselines"}
        assert entry["rows"] == {"ham": 60, "spam": 30}[label]
        assert set(entry["baselines"]) == set(summary["baselines"])
    for rate in RATES:
        ours = {key: summary["metrics"][rate][key] for key in ("mean", "low", "high")}
        assert summary["classes"]["spam"][rate] == ours  # the positive class
        assert summary["classes"]["spam"]["baselines"]["majority"][rate] == summary["baselines"]["majority"][rate]

    threshold = summary["threshold"]
    assert (threshold["label"], threshold["least_recall"]) == ("spam", 0)
    assert threshold["by_seed"] == {seed: by_seed[seed]["threshold"] for seed in ("1", "7")}
    for rate in RATES:
        metric, difference = threshold["metrics"][rate], threshold["differences"][rate]
        assert metric["by_seed"] == {seed: by_seed[seed][f"test_{rate}_at_threshold"] for seed in ("1", "7")}
        assert difference["difference"] == pytest.approx(metric["mean"] - summary["metrics"][rate]["mean"])
        assert difference["low"] <= difference["difference"] <= difference["high"]
    assert summary["without_near_copies"] is None


def test_a_wanted_recall_moves_the_threshold(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    frame = pd.read_parquet(files["predictions"][7])
    hard = frame["id"] == 93  # spam of the validation split, now less probable than nearly all ham
    frame.assign(probability_spam=frame["probability_spam"].mask(hard, 0.02)).to_parquet(files["predictions"][7])
    wish = Evaluation(bootstrap_samples=10, threshold_recall=1.0)
    with_wish, without = (summarize_spam(tmp_path, **files, settings=one)["threshold"] for one in (wish, SETTINGS))
    assert (with_wish["least_recall"], without["least_recall"]) == (1, 0)
    assert with_wish["by_seed"]["7"] <= 0.02 < without["by_seed"]["7"]


def test_the_figures_without_near_copies(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    copies = list(range(0, 90, 4))
    summary = summarize_spam(tmp_path, **files, near_copies=copies)
    found = summary["without_near_copies"]
    assert (found["near_copies"], found["rows"]) == (len(copies), 90 - len(copies))
    frames = [pd.read_parquet(path).query("split == 'test' and id % 4 != 0") for path in files["predictions"].values()]
    accuracy = np.mean([(frame["label"] == frame["prediction"]).mean() for frame in frames])
    assert found["metrics"]["accuracy"]["mean"] == pytest.approx(accuracy)
    assert found["metrics"]["accuracy"]["low"] < accuracy < found["metrics"]["accuracy"]["high"]
    assert set(found["metrics"]) == set(METRICS)
    assert set(found["baselines"]) == set(summary["baselines"])
    nothing: dict[str, Any] = {"metrics": {}, "baselines": {}}
    none = summarize_spam(tmp_path, **files, near_copies=[])["without_near_copies"]
    assert none == {"rows": 90, "near_copies": 0} | nothing
    all_of_them = summarize_spam(tmp_path, **files, near_copies=range(90))["without_near_copies"]
    assert all_of_them == {"rows": 0, "near_copies": 90} | nothing


def test_one_seed_has_the_intervals_of_its_metrics_file(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    path = files["predictions"][1]
    summary = summarize_spam(tmp_path, **files | {"predictions": {1: path}})
    evaluate_classification(path, "spam", SETTINGS, tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name, metric in summary["metrics"].items():
        assert metric["standard_deviation"] is None
        ends = [metric["mean"], metric["low"], metric["high"]]
        assert ends == [metrics[f"test_{name}"], metrics[f"test_{name}_low"], metrics[f"test_{name}_high"]]
    same = [row for row in summary["comparisons"] if row["against"] == "tfidf_logistic_regression"]
    assert all(row["difference"] == row["low"] == row["high"] == 0 for row in same)  # the same predictions


def test_undefined_metrics_are_null(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    for path in [*files["predictions"].values(), files["baselines"]]:
        frame = pd.read_parquet(path)
        frame[frame["label"] == "ham"].to_parquet(path)
    summary = summarize_spam(tmp_path, **files)
    assert summary["metrics"]["roc_auc"] == {
        **dict.fromkeys(["mean", "standard_deviation", "low", "high"]),
        "by_seed": {"1": None, "7": None},
    }
    assert summary["metrics"]["accuracy"]["mean"] > 0.8


def test_seeds_of_different_test_items(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    predict(0.95, 7).query("id != 4").to_parquet(files["predictions"][7])
    with pytest.raises(UserError, match=r"seed-7\.parquet: not about the items of .*seed-1\.parquet"):
        summarize_spam(tmp_path, **files)
    assert not (tmp_path / "summary.json").exists()


def test_baselines_of_other_labels(tmp_path: Path) -> None:
    files = classification_files(tmp_path)
    rivals = pd.read_parquet(files["baselines"])
    rivals.assign(label=rivals["label"].mask(rivals["id"] == 4, "spam")).to_parquet(files["baselines"])
    with pytest.raises(UserError, match=r"baselines\.parquet.*not about the items"):
        summarize_spam(tmp_path, **files)


def respond(right: float, loss: float, seed: int, categories: tuple[str, ...] = ("sums", "words")) -> pd.DataFrame:
    """60 items, answered right with the probability `right`."""
    generator = np.random.default_rng(seed)
    reference = [f"answer {i}" for i in range(60)]
    return pd.DataFrame(
        {
            "id": np.arange(60),
            "category": [categories[i % len(categories)] for i in range(60)],
            "instruction": "Answer.",
            "input": "",
            "finish_reason": "stop",
            "reference": reference,
            "response": np.where(generator.random(60) < right, reference, "no answer"),
            "negative_log_likelihood": loss * np.arange(1, 61),
            "target_tokens": np.arange(1, 61),
        }
    )


def instruction_files(folder: Path, **options: Any) -> dict[str, Any]:
    paths = {seed: folder / f"seed-{seed}.jsonl" for seed in (1, 2, 3)}
    for seed, path in paths.items():
        respond(0.8, 0.5, seed, **options).to_json(path, orient="records", lines=True)
    respond(0.0, 3.0, 0, **options).to_json(folder / "before.jsonl", orient="records", lines=True)
    rivals = [
        respond(right, 0, 9, **options).assign(baseline=name)
        for name, right in [("majority_answer", 0.1), ("nearest_neighbour", 0.5)]
    ]
    pd.concat(rivals).to_parquet(folder / "baselines.parquet")
    return {
        "responses": paths,
        "before": folder / "before.jsonl",
        "baselines": folder / "baselines.parquet",
        "judgements": {},
    }


def summarize_answers(folder: Path, near_copies: list[int] | None = None, **files: Any) -> dict[str, Any]:
    output = folder / "summary.json"
    about = {"run": "assistant", "dataset": "questions", "model": "small", "near_copies": near_copies}
    summarize_instructions(settings=SETTINGS, output=output, **about, **files)
    return json.loads(output.read_text())


def test_instruction_summary(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    summary = summarize_answers(tmp_path, **files)
    about: dict[str, Any] = {"run": "assistant", "task": "instruction", "dataset": "questions", "model": "small"}
    about |= {"seeds": [1, 2, 3], "rows": 60, "confidence": 0.95}
    assert {key: summary[key] for key in about} == about
    assert set(summary) == set(about) | {
        *("metrics", "baselines", "before", "comparisons", "categories", "without_near_copies", "texts", "judge")
    }
    assert summary["judge"] is None

    metrics = summary["metrics"]
    assert set(metrics) == set(summary["before"]) == {"loss", "perplexity", "exact_match", "rouge_l", "chrf"}
    assert all(set(m) == {"mean", "standard_deviation", "by_seed"} | INTERVAL for m in metrics.values())
    assert all(set(m) == {"value"} | INTERVAL for m in summary["before"].values())
    assert metrics["loss"]["mean"] == pytest.approx(0.5)
    assert metrics["perplexity"]["mean"] == pytest.approx(np.exp(0.5))
    assert summary["before"]["loss"]["value"] == pytest.approx(3)
    for seed, path in files["responses"].items():
        evaluate_instructions(path, SETTINGS, tmp_path / "metrics.json")
        alone = json.loads((tmp_path / "metrics.json").read_text())
        assert all(metrics[name]["by_seed"][str(seed)] == alone[f"test_{name}"] for name in metrics)

    assert set(summary["baselines"]) == {"majority_answer", "nearest_neighbour"}
    assert all(set(rival) == {"exact_match", "rouge_l", "chrf"} for rival in summary["baselines"].values())
    comparisons = {(row["metric"], row["against"]): row for row in summary["comparisons"]}
    scores = ("exact_match", "rouge_l", "chrf")
    assert set(comparisons) == {(score, rival) for score in scores for rival in summary["baselines"]} | {
        (metric, "before") for metric in metrics
    }
    assert comparisons["loss", "before"]["difference"] == pytest.approx(-2.5)
    assert comparisons["exact_match", "before"]["difference"] == pytest.approx(metrics["exact_match"]["mean"])


def test_categories(tmp_path: Path) -> None:
    summary = summarize_answers(tmp_path, **instruction_files(tmp_path))
    categories = summary["categories"]
    assert set(categories) == {"sums", "words"}
    for category in categories.values():
        assert set(category) == {
            *("rows", "exact_match", "rouge_l", "chrf", "before_exact_match", "baselines", "differences"),
        }
        assert category["rows"] == 30
        assert set(category["exact_match"]) == set(category["rouge_l"]) == {"mean"} | INTERVAL
        assert category["before_exact_match"] == 0
        assert set(category["baselines"]) == set(category["differences"]) == {"majority_answer", "nearest_neighbour"}
        for name, difference in category["differences"].items():
            assert set(difference) == {"difference"} | INTERVAL
            expected = category["exact_match"]["mean"] - category["baselines"][name]
            assert difference["difference"] == pytest.approx(expected)
    parts = [category["exact_match"]["mean"] for category in categories.values()]
    assert np.mean(parts) == pytest.approx(summary["metrics"]["exact_match"]["mean"])
    assert parts[0] != parts[1]


def test_answers_without_near_copies(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    found = summarize_answers(tmp_path, near_copies=list(range(10)), **files)["without_near_copies"]
    assert (found["near_copies"], found["rows"]) == (10, 50)
    frames = [pd.read_json(path, lines=True).query("id >= 10") for path in files["responses"].values()]
    matches = np.mean([(frame["response"] == frame["reference"]).mean() for frame in frames])
    assert found["metrics"]["exact_match"]["mean"] == pytest.approx(matches)


def test_texts(tmp_path: Path) -> None:
    texts = summarize_answers(tmp_path, **instruction_files(tmp_path))["texts"]
    assert set(texts) == {"fine_tuned", "before", "reference"}
    assert set(texts["fine_tuned"]) == set(texts["before"]) == set(texts["reference"]) | {"cut_off"}
    assert texts["before"]["mean_words"] == texts["reference"]["mean_words"] == 2
    assert texts["before"]["distinct_2"] == 1 / 120  # the same answer 60 times
    assert texts["reference"]["distinct_2"] == 60 / 120
    assert 1 / 120 < texts["fine_tuned"]["distinct_2"] < 60 / 120


def judge(responses: Path, scores: list[int | None]) -> Path:
    path = responses.with_suffix(".judged")
    lines = [{"id": number, "score": score, "answer": str(score)} for number, score in enumerate(scores)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_judged_summary(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    judged = {path: judge(path, [None, None, 80, *[60] * 57]) for path in files["responses"].values()}
    judged[files["before"]] = judge(files["before"], [None, *[20] * 59])
    summary = summarize_answers(tmp_path, **files | {"judgements": judged})
    score, before = summary["metrics"]["judge_score"], summary["before"]["judge_score"]
    assert score["mean"] == pytest.approx((80 + 57 * 60) / 58)  # over what has a score
    assert score["low"] < score["mean"] < score["high"]
    assert before["value"] == before["low"] == before["high"] == 20
    assert summary["judge"] == {
        "unparsable": {"1": 2, "2": 2, "3": 2},
        "unparsable_before": 1,
        "bounds": {"low": pytest.approx(3500 / 60), "high": pytest.approx(3700 / 60)},
        "bounds_before": {"low": pytest.approx(1180 / 60), "high": pytest.approx(1280 / 60)},
    }
    compared = {row["against"]: row for row in summary["comparisons"] if row["metric"] == "judge_score"}
    assert set(compared) == {"before"}  # the baselines are not judged
    assert compared["before"]["difference"] == pytest.approx(score["mean"] - 20)
    assert summary["categories"]["sums"]["judge_score"]["mean"] > summary["categories"]["words"]["judge_score"]["mean"]


def test_a_judge_who_gave_no_score_at_all(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    judged = {path: judge(path, [None] * 60) for path in [*files["responses"].values(), files["before"]]}
    summary = summarize_answers(tmp_path, **files | {"judgements": judged})
    assert summary["metrics"]["judge_score"]["mean"] is None
    assert summary["judge"]["bounds"] == {"low": 0, "high": 100}


def test_judgements_of_other_items(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    judged = {path: judge(path, [50] * 59) for path in [*files["responses"].values(), files["before"]]}
    with pytest.raises(UserError, match=r"seed-1\.judged: not about the responses in .*seed-1\.jsonl"):
        summarize_answers(tmp_path, **files | {"judgements": judged})


def test_no_categories(tmp_path: Path) -> None:
    assert summarize_answers(tmp_path, **instruction_files(tmp_path, categories=("",)))["categories"] == {}


def test_before_of_other_references(tmp_path: Path) -> None:
    files = instruction_files(tmp_path)
    other = respond(0, 3, 0).assign(reference="another")
    other.to_json(files["before"], orient="records", lines=True)
    with pytest.raises(UserError, match=r"before\.jsonl: not about the items of .*seed-1\.jsonl"):
        summarize_answers(tmp_path, **files)


def test_metrics_of_all_runs(tmp_path: Path) -> None:
    spam = summarize_spam(tmp_path, **classification_files(tmp_path), output=tmp_path / "summary.json")
    (tmp_path / "spam.json").write_text(json.dumps(spam))
    answers = summarize_answers(tmp_path, **instruction_files(tmp_path))
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    collect_metrics([tmp_path / "spam.json", tmp_path / "answers.json"], tmp_path / "metrics.json")
    collected = json.loads((tmp_path / "metrics.json").read_text())
    assert set(collected) == {"spam", "assistant"}
    assert collected["spam"]["f1"] == spam["metrics"]["f1"]["mean"]
    assert set(collected["assistant"]) == {"loss", "perplexity", "exact_match", "rouge_l", "chrf"}
