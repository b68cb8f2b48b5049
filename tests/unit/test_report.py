"""The HTML report, from synthetic results of small made-up runs."""

import base64
import copy
import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gptsmith.config.load import settings_hash
from gptsmith.errors import UserError
from gptsmith.files import write_json, write_text
from gptsmith.report.build import build_report
from gptsmith.report.charts import Dots, growth_chart
from gptsmith.report.classification import threshold
from gptsmith.report.data_table import DataTable
from gptsmith.report.items import predictions_table, responses_table
from gptsmith.report.results import read_run
from gptsmith.report.text import plain, untrusted
from gptsmith.report.wording import headline, verdict, warning

# ---- a builder of result files -------------------------------------------------------------------

FILE = {"sources": [{"path": "own.csv"}], "format": {"type": "csv"}}
SETTINGS: dict[str, Any] = {
    "name": "starter",
    "seed": 123,
    "datasets": {
        "sms": {"task": "classification", **FILE},
        "tasks": {"task": "instruction", "category": "kind", **FILE},
        "books": {"task": "text", **FILE},
    },
    "tokenizers": {"bpe": {"train_on": ["books"], "vocab_size": 2048}},
    "models": {
        "small": {
            "tokenizer": "bpe",
            "architecture": {"d_model": 128, "n_layers": 4, "n_heads": 4, "context_length": 256},
            "pretrain": {"datasets": ["books"]},
        },
        "blank": {
            "tokenizer": "bpe",
            "architecture": {"d_model": 128, "n_layers": 4, "n_heads": 4, "context_length": 256},
            "random": True,
        },
        "mine": {"tokenizer": "bpe", "path": "models/mine"},
    },
    "runs": {
        "spam": {"dataset": "sms", "model": "small", "trainable": {"last_blocks": 1}, "seeds": [1, 2]},
        "spam-random": {"dataset": "sms", "model": "blank", "seeds": [1]},
        "assistant": {"dataset": "tasks", "model": "mine", "seeds": [1]},
    },
}
CLASSIFICATION_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision")
PROBABILITY_METRICS = ("log_loss", "brier_score", "calibration_error")
RATES = ("precision", "recall", "f1")
TEXT_METRICS = ("exact_match", "rouge_l", "chrf")
TEXT_STATISTICS = {
    "mean_words": 1.5,
    "median_words": 1.0,
    "empty": 0.0,
    "repeating": 0.125,
    "repeated_spans": 0.0625,
    "distinct_2": 0.75,
    "copying": 0.25,
}
CATEGORIES = ("plural", "reverse", "spelling")


def around(value: float, spread: float = 0.03, key: str = "value") -> dict[str, float]:
    return {key: value, "low": max(0.0, value - spread), "high": value + spread}


def around_zero(difference: float, spread: float) -> dict[str, float]:
    return {"difference": difference, "low": difference - spread, "high": difference + spread}


def over_seeds(value: float, seeds: list[int]) -> dict[str, Any]:
    deviation = 0.01 if len(seeds) > 1 else None
    return {**around(value, key="mean"), "standard_deviation": deviation, "by_seed": {str(s): value for s in seeds}}


def differs(metric: str, against: str, difference: float, spread: float = 0.03) -> dict[str, Any]:
    low, high = difference - spread, difference + spread
    return {"metric": metric, "against": against, "difference": difference, "low": low, "high": high}


def classification_summary(run: str, model: str, seeds: list[int], rows: int, f1: float) -> dict[str, Any]:
    values = dict.fromkeys(CLASSIFICATION_METRICS, f1) | dict.fromkeys(PROBABILITY_METRICS, 0.25)
    return {
        "run": run,
        "task": "classification",
        "dataset": "sms",
        "model": model,
        "seeds": seeds,
        "rows": rows,
        "confidence": 0.95,
        "metrics": {name: over_seeds(value, seeds) for name, value in values.items()},
        "validation": {name: {"mean": value, "by_seed": {}} for name, value in values.items()},
        "baselines": {
            "majority": {name: around(0.0, 0.0) for name in values} | {"accuracy": around(0.871, 0.02)},
            "tfidf_logistic_regression": {name: around(0.912) for name in values},
        },
        "comparisons": [
            differs("f1", "tfidf_logistic_regression", f1 - 0.912),
            differs("f1", "majority", f1),
            differs("accuracy", "tfidf_logistic_regression", f1 - 0.912),
            differs("calibration_error", "tfidf_logistic_regression", -0.05),
            differs("calibration_error", "majority", 0.25),
        ],
        "classes": {
            label: {
                "rows": count,
                **{rate: around(value, key="mean") for rate in RATES},
                "baselines": {"tfidf_logistic_regression": {rate: around(0.9) for rate in RATES}},
            }
            for label, count, value in [("ham", rows - 15, 0.98), ("spam", 15, f1)]
        },
        "threshold": {
            "label": "spam",
            "least_recall": 0.0,
            "by_seed": {str(seed): 0.3 + seed / 100 for seed in seeds},
            "metrics": {rate: over_seeds(f1 + 0.02, seeds) for rate in RATES},
            "differences": {rate: around_zero(0.02, 0.03 if rate == "f1" else 0.01) for rate in RATES},
        },
        "without_near_copies": {
            "rows": rows - 12,
            "near_copies": 12,
            "metrics": {name: around(value - 0.1, key="mean") for name, value in values.items()},
            "baselines": {"tfidf_logistic_regression": {name: around(0.7) for name in values}},
        },
    }


def comparison(metric: str, one: str, other: str, difference: float) -> dict[str, Any]:
    """comparisons.json of two runs; the interval is ± 0.03 wide."""
    difference_of = {metric: around_zero(difference, 0.03)}
    mcnemar = {"only_first": 3, "only_second": 17, "p_value": 0.0026}
    pair = {"runs": [one, other], "differences": difference_of, "mcnemar": mcnemar}
    return {"dataset": "sms", "rows": 60, "confidence": 0.95, "pairs": [pair]}


def instruction_summary() -> dict[str, Any]:
    return {
        "run": "assistant",
        "task": "instruction",
        "dataset": "tasks",
        "model": "mine",
        "seeds": [1],
        "rows": 90,
        "confidence": 0.95,
        "metrics": {
            name: over_seeds(value, [1])
            for name, value in {
                "loss": 1.9,
                "perplexity": 6.69,
                "exact_match": 0.41,
                "rouge_l": 0.55,
                "chrf": 0.61,
            }.items()
        },
        "baselines": {
            "majority_answer": {name: around(0.05) for name in TEXT_METRICS},
            "nearest_neighbour": {name: around(0.3) for name in TEXT_METRICS},
        },
        "before": {"loss": around(5.2), "perplexity": around(181.3), "exact_match": around(0), "rouge_l": around(0.04)},
        "comparisons": [
            differs("exact_match", "before", 0.41),
            differs("exact_match", "nearest_neighbour", 0.11),
            differs("loss", "before", -3.3),
        ],
        "without_near_copies": {"rows": 90, "near_copies": 0, "metrics": {}, "baselines": {}},
        "categories": {
            name: {
                "rows": 30,
                "exact_match": around(value, 0.1, "mean"),
                "rouge_l": around(value, 0.1, "mean"),
                "chrf": around(value, 0.1, "mean"),
                "before_exact_match": 0.0,
                "baselines": {"majority_answer": 0.05, "nearest_neighbour": 0.3},
                "differences": {
                    "majority_answer": around(value - 0.05, 0.1, "difference"),
                    "nearest_neighbour": {"difference": value - 0.3, "low": value - 0.4, "high": value - 0.2},
                },
            }
            for name, value in zip(CATEGORIES, (0.7, 0.35, 0.1), strict=True)
        },
        "texts": {
            "fine_tuned": {**TEXT_STATISTICS, "cut_off": 0.2},
            "before": {**TEXT_STATISTICS, "distinct_2": None, "cut_off": 1.0},
            "reference": TEXT_STATISTICS,
        },
        "judge": None,
    }


def predictions(labels: list[str], rows: int, skill: float, seed: int) -> pd.DataFrame:
    """Rows of every split with labels in turn; `skill` moves the true label's score up."""
    generator = np.random.default_rng(seed)
    # A quarter of the rows has the last label, so that classes differ in size.
    true = np.array([len(labels) - 1 if row % 4 == 0 else row % (len(labels) - 1) for row in range(rows)])
    scores = generator.normal(size=(rows, len(labels)))
    scores[np.arange(rows), true] += skill
    scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"id": np.arange(rows), "text": [f"message number {row}" for row in range(rows)]})
    frame["label"] = [labels[index] for index in true]
    frame["prediction"] = [labels[index] for index in scores.argmax(axis=1)]
    return frame.assign(**{f"probability_{label}": scores[:, place] for place, label in enumerate(labels)})


def history(steps: int, accuracy: bool, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = []
    for step in range(1, steps + 1):
        loss = 3 * math.exp(-step / (steps / 4)) + 0.1 + 0.05 * generator.random()
        shared = {
            "step": step,
            "epoch": 5 * step / steps,
            "learning_rate": 1e-3,
            "tokens": 100 * step,
            "seconds": 0.1 * step,
        }
        right = 1 - loss / 4 if accuracy else None
        rows.append({**shared, "split": "train", "loss": loss, "accuracy": right, "grad_norm": 1.0})
        if step % (steps // 10) == 0:
            rows.append({**shared, "split": "validation", "loss": loss + 0.05, "accuracy": right, "grad_norm": None})
    return pd.DataFrame(rows).astype({"accuracy": float})


def response(item: int, right: bool) -> dict[str, Any]:
    return {
        "id": item,
        "instruction": f"Write the plural of word {item}.",
        "input": "mouse" if item % 2 else "",
        "category": CATEGORIES[item % 3],
        "reference": "mice",
        "response": "mice" if right else "mouses",
        "finish_reason": "stop" if item % 5 else "length",
        "negative_log_likelihood": 3.2,
        "target_tokens": 2,
    }


PROVENANCE = {
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "git_dirty": False,
    "settings": {},
    "inputs": {"data/tokens/bpe/sms/train.parquet": "ab" * 32},
    "versions": {"torch": "2.7.0", "numpy": "2.2.1"},
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "device": "cpu",
    "threads": 2,
    "precision": "fp32",
    "seconds": 83.4,
    "started": "2025-03-01T10:20:30Z",
    "peak_memory_mb": 912.0,
    "parameters": 1087744,
    "trainable_parameters": 198528,
    "truncated_texts": 3,
    "tokens_per_second": 12345.6,
    "fraction_of_matmul_rate": 0.42,
}


def prepared_report(task: str, classes: dict[str, int], **more: Any) -> dict[str, Any]:
    key = {"classification": "labels", "instruction": "categories"}.get(task)
    counts: dict[str, Any] = {key: classes} if key else {"characters": 123456}
    split = {"rows": sum(classes.values()) or 3, **counts}
    return {
        "task": task,
        "rows_read": 5574,
        "rows": 5171,
        "dropped": {"duplicate": 403},
        "splits": {"train": split, "validation": split, "test": split},
        "overlaps": {"train/validation": 0, "train/test": 0, "validation/test": 0},
        **more,
    }


class Results:
    """A folder of result files that a test may change before it builds the report."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = copy.deepcopy(SETTINGS)
        self.labels = ["ham", "spam"]
        self.rows = 60
        self.expected: Path | None = None
        self.folders: list[Path] = []
        self.near_copies = {str(row): 1000 + row for row in range(0, 60, 5)}
        self.stages = ["benchmarks/finetune/starter/spam/seed-1.jsonl", "benchmarks/prepare/sms.jsonl"]

    def write(self) -> "Results":
        for run, seeds, f1 in [("spam", [1, 2], 0.931), ("spam-random", [1], 0.78)]:
            model = SETTINGS["runs"][run]["model"]
            self.json(f"{run}/summary.json", classification_summary(run, model, seeds, self.rows, f1))
            for seed in seeds:
                both = [
                    predictions(self.labels, self.rows, 4 * f1 - 2.2, seed).assign(split=s)
                    for s in ("validation", "test")
                ]
                self.table(f"{run}/seed-{seed}/predictions.parquet", pd.concat(both))
                self.seed_files(run, seed, accuracy=True)
            tfidf = predictions(self.labels, self.rows, 2.4, 7).assign(baseline="tfidf_logistic_regression")
            self.table(f"{run}/baselines.parquet", tfidf.drop(columns="text"))
        self.json("assistant/summary.json", instruction_summary())
        self.lines("assistant/seed-1/responses.jsonl", [response(item, item % 4 < 2) for item in range(30)])
        self.lines("assistant/before/responses.jsonl", [response(item, False) for item in range(30)])
        self.seed_files("assistant", 1, accuracy=False)
        classes = {label: 100 + place for place, label in enumerate(self.labels)}
        positive = "spam" if len(self.labels) == 2 else None
        copies = {"similarity": 0.8, "rows": 30, "across": {}, "in_train": {"validation": {}, "test": self.near_copies}}
        near: dict[str, Any] = {"near_duplicates": copies}
        more = {"labels": self.labels, "positive_label": positive, "conflicting_labels": 2, **near}
        self.json("prepared/sms.json", prepared_report("classification", classes, **more))
        self.json("prepared/tasks.json", prepared_report("instruction", dict.fromkeys(CATEGORIES, 30), **near))
        # In the order of the config, that without pretraining may come first.
        self.json("comparisons/sms.json", comparison("f1", "spam-random", "spam", -0.151))
        self.json("prepared/books.json", prepared_report("text", {}))
        stage = {"s": 83.2, "max_rss": 912.5, "cpu_time": 150.1, "threads": 2, "h:m:s": "0:01:23"}
        self.lines(self.stages[0], [stage])
        self.lines(self.stages[1], [{**stage, "s": 0.4, "max_rss": "NA", "cpu_time": "NA"}])
        self.json(
            "verification.json",
            {
                "max_difference": 3.1e-5,
                "largest_logit": 112.2,
                "relative": 2.8e-7,
                "positions": 64,
                "transformers": "4.57.1",
                "weights_alone": False,
            },
        )
        self.table("pretraining.parquet", history(100, False, 5))
        return self

    def seed_files(self, run: str, seed: int, accuracy: bool) -> None:
        self.table(f"{run}/seed-{seed}/history.parquet", history(400, accuracy, seed))
        self.json(f"{run}/seed-{seed}/provenance.json", PROVENANCE)

    def json(self, path: str, value: Any) -> None:
        write_json(self.root / path, value)

    def lines(self, path: str, rows: list[dict[str, Any]]) -> None:
        write_text(self.root / path, "".join(json.dumps(row) + "\n" for row in rows))

    def table(self, path: str, frame: pd.DataFrame) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(self.root / path)

    def edit(self, path: str, change: Callable[[Any], None]) -> None:
        value = json.loads((self.root / path).read_text(encoding="utf-8"))
        change(value)
        self.json(path, value)

    def build(self) -> str:
        output = self.root / "report.html"
        build_report(
            name="starter",
            settings=self.settings,
            results=self.root,
            prepared={name: self.root / f"prepared/{name}.json" for name in self.settings["datasets"]},
            stages=[self.root / stage for stage in self.stages],
            verifications={"small": self.root / "verification.json"},
            output=output,
            compared=[self.root / "comparisons/sms.json"]
            if {"spam", "spam-random"} <= set(self.settings["runs"])
            else [],
            pretraining={"small": self.root / "pretraining.parquet"},
            estimate=self.expected,
            folders=self.folders,
        )
        return output.read_text(encoding="utf-8")


# ---- reading the page ------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags, attributes and the text of every section (an element with an id outside a chart)."""

    VOID = frozenset({"meta", "br"})
    BLOCKS = frozenset({"th", "td", "dt", "dd", "li", "p", "h2", "h3", "h4", "span", "figcaption", "caption"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: dict[str, str] = {}
        self.scripts: list[tuple[str | None, str]] = []  # type, content
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in self.VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed without being open: {tag}"
        if tag in self.BLOCKS:
            self.handle_data(" ")
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "script":
            kind, content = self.scripts.pop()
            self.scripts.append((kind, content + data))
            return
        for _, identifier in self._open:
            if identifier:
                self.text[identifier] = self.text.get(identifier, "") + data

    def said(self, section: str) -> str:
        return " ".join(self.text[section].split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results")).write()


@pytest.fixture(scope="module")
def html(results: Results) -> str:
    return results.build()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_sections_and_contents_agree(page: Page) -> None:
    linked = [value[1:] for name, value in page.attributes if name == "href" and page.text.get(value[1:])]
    sections = [
        "verdicts",
        "data",
        "models",
        "run-0",
        "run-1",
        "run-2",
        "siblings",
        "stages",
        "provenance",
        "reproduce",
    ]
    assert list(dict.fromkeys(linked)) == sections


def test_verdicts_follow_the_numbers(page: Page) -> None:
    said = page.said("verdicts")
    assert "F1 0.931 [0.901, 0.961] spam classification on sms, from small" in said
    assert (
        "○ no difference found against TF-IDF + logistic regression 0.912: difference +0.019 [−0.011, +0.049]" in said
    )
    assert "Measured on 60 test texts, mean of 2 seeds. None of them is in the training or validation split." in said
    assert "F1 0.780 [0.750, 0.810] spam-random" in said
    assert "▼ worse against TF-IDF + logistic regression 0.912" in said
    assert "TF-IDF + logistic regression is better than the fine-tuned model here: F1 0.912 against 0.780" in said
    assert "▲ better against before fine-tuning 0.000: difference +0.410 [+0.380, +0.440]" in said
    assert "▲ better against nearest neighbour 0.300" in said


def test_numbers_stand_where_they_belong(page: Page) -> None:
    assert "5,574 rows read, 5,171 kept; dropped: 403 duplicate. No text is in two splits (0 overlaps)." in page.said(
        "data"
    )
    assert "2 texts occurred with different labels." in page.said("data")
    run = page.said("run-0")
    assert "F1 0.931 ± 0.010 [0.901, 0.961] 0.000 [0.000, 0.000] 0.912 [0.882, 0.942] 0.931" in run
    assert "trainable last block seeds 1, 2 max length – class weights none epochs 5" in run
    assert "1 198,528 1,087,744 3 1 min 23 s 12,346 42% 956 MB cpu 2 fp32" in run
    assistant = page.said("run-2")
    assert "Loss (nats per token) 1.900 [1.870, 1.930] 5.200 [5.170, 5.230] – –" in assistant
    assert "plural 30 0.700 [0.600, 0.800] 0.700 0.700 0.000 0.050 0.300 +0.400 [+0.300, +0.500] ▲ better" in assistant
    assert (
        "reverse 30 0.350 [0.250, 0.450] 0.350 0.350 0.000 0.050 0.300 +0.050 [−0.050, +0.150] ○ no difference found"
        in assistant
    )
    assert "finetune spam/seed-1 1 min 23 s 2 min 30 s 957 MB 2 prepare sms 0.4 s – – 2" in page.said("stages")
    assert "logits differ by at most 3.1e-05 over 64 positions" in page.said("models")
    assert "snakemake --cores all --configfile starter.yaml" in page.said("reproduce")


def test_an_estimate_stands_beside_the_truth(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    stages = [
        {"rule": "finetune", "what": "starter/spam/seed-1", "seconds": 41.6, "memory_mb": 456.0},
        {"rule": "prepare", "what": "sms", "seconds": 0.4, "memory_mb": 150.0},
        {"rule": "report", "what": "starter", "seconds": 3.0, "memory_mb": None},
    ]
    results.json(
        "estimate.json",
        {
            "date": "2025-03-01T10:20:00+00:00",
            "settings": settings_hash(results.settings),
            "device": "cpu",
            "cores": 2,
            "stages": stages,
            "total": {"seconds": 50.0, "disk_bytes": 3_000_000},
        },
    )
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "file").write_bytes(bytes(2_000_000))
    results.expected, results.folders = tmp_path / "estimate.json", [tmp_path / "left", tmp_path / "not there"]
    said = Page(results.build()).said("stages")
    assert "for cpu, 2 cores: 42 s for these stages, which took 1 min 24 s: 2.0 times the estimate." in said
    assert "finetune spam/seed-1 was the farthest off: 2.0 times. Disk: 3 MB estimated, 2 MB used." in said
    assert "finetune spam/seed-1 1 min 23 s 42 s 2 min 30 s 957 MB 456 MB 2" in said
    assert "All stages 1 min 24 s 42 s 2 min 30 s 957 MB 456 MB" in said
    assert "settings that have changed" not in said
    results.settings["seed"] = 77
    assert "with settings that have changed since" in Page(results.build()).said("stages")
    # Of some stages only, a sum would stand below figures that it is not the sum of.
    results.edit("estimate.json", lambda estimate: estimate.update(stages=stages[:1]))
    said = Page(results.build()).said("stages")
    assert "42 s for the stages that it knew, which took 1 min 23 s" in said
    assert "All stages 1 min 24 s – 2 min 30 s 957 MB –" in said
    results.edit("estimate.json", lambda estimate: estimate.update(stages=stages[2:]))
    assert "gptsmith check" not in Page(results.build()).said("stages")


def test_length_and_repetition_stand_beside_those_of_the_references(page: Page) -> None:
    assistant = page.said("run-2")
    assert "Of the responses Fine-tuned Before fine-tuning Reference Words, mean 1.500 1.500 1.500" in assistant
    assert "Stopped at the length limit 0.200 1.000 –" in assistant
    assert "Different pairs of words for each word 0.750 – 0.750" in assistant
    assert "Judge" not in assistant


def judged(results: Results, model: str, prompt: str) -> None:
    """A judge that graded all responses, but the first."""
    for folder in ("assistant/seed-1", "assistant/before"):
        lines = [{"id": item, "score": 85 if item else None, "answer": "85"} for item in range(30)]
        results.lines(f"{folder}/judgements.jsonl", lines)
    settings = {"url": "http://localhost:11434/v1", "model": model, "prompt": prompt}
    results.json("assistant/before/judge.json", {"settings": settings, "models": [model]})
    counts = {"unparsable": {"1": 1}, "unparsable_before": 2, "bounds": around(80.5), "bounds_before": around(10.5)}
    results.edit("assistant/summary.json", lambda summary: summary.update(judge=counts))
    results.edit("assistant/summary.json", lambda s: s["metrics"].update(judge_score=over_seeds(85.0, [1])))
    results.edit("assistant/summary.json", lambda s: s["before"].update(judge_score=around(20)))


def test_a_judge_is_named_with_what_it_was_asked_and_what_has_no_grade(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    judged(results, "<b>llama3", "Grade <script>alert(1)</script> {response}")
    page = assert_inert(results.build())
    assistant = page.said("run-2")
    assert "Judge's score (0 to 100) 85.000 [84.970, 85.030] 20.000" in assistant
    assert "<b>llama3 at localhost:11434 graded each response" in assistant
    assert "Fine-tuned 1 80.470 80.530 Before fine-tuning 2 10.470 10.530" in assistant
    assert "Grade <script>alert(1)</script> {response}" in assistant
    assert "no. 1 · ROUGE-L 1.000 · chrF 1.000 · Judge's score (0 to 100) 85.000" in assistant
    assert "no. 0 · ROUGE-L 1.000 · chrF 1.000 · Judge's score (0 to 100) –" in assistant


def test_origin_of_models_is_told_as_it_is(page: Page) -> None:
    said = page.said("models")
    assert "pretrained in this pipeline: next-token prediction on the training split of books" in said
    assert "random weights, nothing pretrained" in said
    assert "imported from the folder models/mine" in said
    assert "published" not in said


def test_pretraining_is_compared_with_random_weights(page: Page) -> None:
    said = page.said("siblings")
    assert (
        "F1 of spam 0.931, of spam-random (random weights) 0.780: spam is better "
        "(difference +0.151 [+0.121, +0.181])." in said
    )
    assert "spam spam-random +0.151 [+0.121, +0.181] ▲ better 17 3 0.0026 ▲ better" in said
    assert "Besides the model the runs differ in trainable." in said


def test_runs_that_cannot_be_told_apart_are_said_to_be_so(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    results.settings["models"]["blank"] = results.settings["models"]["small"]

    def blur(found: dict[str, Any]) -> None:
        found["pairs"][0]["differences"]["f1"] = around_zero(-0.01, 0.03)
        found["pairs"][0]["mcnemar"]["p_value"] = 0.06

    results.edit("comparisons/sms.json", blur)
    said = Page(results.build()).said("siblings")
    assert "Runs on the same dataset" in said
    assert "spam-random spam −0.010 [−0.040, +0.020] ○ no difference found 3 17 0.06 ○ no difference found" in said


def test_classes_threshold_and_near_copies_are_told(page: Page) -> None:
    said = page.said("run-0")
    ham = " ".join(["0.980 [0.950, 1.010]"] * 3)
    assert f"ham 45 {ham} 0.900 [0.870, 0.930]" in said
    assert "A text called spam from a probability of 0.31 (seed 1), 0.32 (seed 2) on, the best F1 on the valid" in said
    assert "Precision 0.931 ± 0.010 [0.901, 0.961] 0.951 ± 0.010 [0.921, 0.981] +0.020 [+0.010, +0.030] ▲" in said
    assert "F1 0.931 ± 0.010 [0.901, 0.961] 0.951 ± 0.010 [0.921, 0.981] +0.020 [−0.010, +0.050] ○ no differ" in said
    assert "gptsmith predict CHECKPOINT --threshold spam=0.31" in said
    assert "12 of 60 test texts are nearly the same as a training text." in said
    assert "F1 0.931 [0.901, 0.961] 0.831 [0.801, 0.861] 0.700 [0.670, 0.730]" in said
    assert "No test item is nearly the same as a training item." in page.said("run-2")
    assert "of the test split 12 are nearly the same as a training row" in page.said("data")


def test_a_threshold_is_told_exactly_and_as_a_shell_takes_it(results: Results) -> None:
    summary = read_run(results.root / "spam-random").summary
    found = {**summary["threshold"], "label": "not $pam", "by_seed": {"1": 0.9996}}
    view = threshold({**summary, "threshold": found})
    assert view is not None
    assert shlex.split(view.option) == ["not $pam=0.9996"]


def test_calibration_counts_every_answer(results: Results, page: Page) -> None:
    frames = [pd.read_parquet(results.root / f"spam/seed-{seed}/predictions.parquet") for seed in (1, 2)]
    test = pd.concat([frame[frame["split"] == "test"] for frame in frames])
    sure = test[test[["probability_ham", "probability_spam"]].max(axis=1) > 0.9]
    right = (sure["label"] == sure["prediction"]).mean()
    said = page.said("run-0").partition("Calibration")[2]
    assert f"0.9 – 1.0 {len(sure)} {right:.3f}" in said
    assert "Calibration error (ECE) 0.250 ± 0.010 [0.220, 0.280]" in said
    against = "Against TF-IDF + logistic regression: calibration error (ECE) ▲ better "
    assert f"{against}(difference −0.050 [−0.080, −0.020]" in said
    assert "Calibration error" not in page.said("run-0").partition("Classes")[0]


def test_runs_stand_in_the_order_of_the_config(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    results.settings["runs"] = dict(reversed(results.settings["runs"].items()))
    verdicts = Page(results.build()).said("verdicts")
    places = [verdicts.index(f" {run} ") for run in ("assistant", "spam-random", "spam")]
    assert places == sorted(places)


def test_confusion_counts_every_prediction(results: Results, page: Page) -> None:
    frames = [pd.read_parquet(results.root / f"spam/seed-{seed}/predictions.parquet") for seed in (1, 2)]
    test = pd.concat([frame[frame["split"] == "test"] for frame in frames])
    hit, total = ((test["label"] == "spam") & (test["prediction"] == "spam")).sum(), (test["label"] == "spam").sum()
    assert f"{hit} {100 * hit / total:.1f} %" in page.said("run-0").partition("Confusion")[2]


def test_mistakes_come_first_by_confidence(results: Results) -> None:
    rows = pd.read_parquet(results.root / "spam-random/seed-1/predictions.parquet").query("split == 'test'")
    wrong = rows[rows["label"] != rows["prediction"]]
    confidence = wrong[["probability_ham", "probability_spam"]].max(axis=1).sort_values(ascending=False)
    table = predictions_table("items", read_run(results.root / "spam-random"), "folder")
    assert len(wrong) > 3
    assert [row[0] for row in table.rows[: len(wrong)]] == wrong.loc[confidence.index, "id"].tolist()
    assert {row[5] for row in table.rows[: len(wrong)]} == {"✗ wrong"}
    assert {row[5] for row in table.rows[len(wrong) :]} == {"✓ right"}


@pytest.mark.parametrize(("name", "items_table"), [("spam-random", predictions_table), ("assistant", responses_table)])
def test_near_copies_of_training_items_are_marked(
    results: Results, name: str, items_table: Callable[..., DataTable]
) -> None:
    run = read_run(results.root / name)
    assert "In training" not in [column.name for column in items_table("items", run, "folder").columns]
    table = items_table("items", run, "folder", {3: 17})
    assert table.columns[-1].name == "In training"
    assert {row[0]: row[-1] for row in table.rows if row[-1]} == {3: "near copy"}


def test_examples_show_a_hit_and_a_miss_of_each_category(page: Page) -> None:
    said = page.said("run-2").partition("Responses")[2]
    for category, hit, miss in [("plural", 0, 3), ("reverse", 1, 7), ("spelling", 5, 2)]:
        assert f"✓ exact match {category} no. {hit}" in said
        assert f"✗ no match {category} no. {miss}" in said
    assert "Fine-tuned mouses Before fine-tuning mouses" in said


# ---- safety and form ---------------------------------------------------------------------------------

TAGS_OF_THE_PAGE = """
html head meta title style script body nav strong ol li a main header p button noscript
h1 h2 h3 h4 small bdi span ul div section table
caption thead tbody tfoot tr th td b i dl dt dd figure figcaption article br details summary pre code
svg g path use defs clippath rect text
"""


def assert_inert(html: str) -> Page:
    """Nothing runs, nothing is fetched, every reference inside the page has its one target."""
    page = Page(html)
    assert set(page.tags) <= set(TAGS_OF_THE_PAGE.split())
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "srcset", "action"}]
    identifiers = [value for name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [value for name, value in page.attributes if name.endswith("href")]
    targets += [match for _, value in page.attributes for match in re.findall(r"url\(([^)]*)\)", value)]
    assert all(target.startswith("#") and target[1:] in identifiers for target in targets)
    policy = next(value for name, value in page.attributes if name == "content")
    assert "default-src 'none'" in policy
    (run,) = [content for kind, content in page.scripts if kind is None]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(run.encode()).digest()).decode()}';" in policy
    assert all(isinstance(json.loads(content), dict) for kind, content in page.scripts if kind == "application/json")
    assert {kind for kind, _ in page.scripts} <= {None, "application/json"}
    assert "http:" not in html
    assert "https:" not in html
    return page


def test_page_needs_nothing_else(html: str) -> None:
    assert_inert(html)


def test_charts_follow_the_colour_scheme(html: str) -> None:
    charts = re.findall(r'<svg class="chart".*?</svg>', html, flags=re.DOTALL)
    # Pretraining; rates, calibration and learning of two classifications; categories and loss.
    assert len(charts) == 1 + 2 * (2 + 1 + 2) + 1 + 1
    assert not [chart for chart in charts if re.search(r"#[0-9a-f]{6}\b", chart)]


def test_a_curve_needs_no_intervals() -> None:
    assert '"points":[[' in growth_chart("name", "Growth", [1, 10], [Dots([0.1, None], "accent")], "x", "y").unescape()


def test_a_page_of_its_own_begins_with_its_name(results: Results, html: str) -> None:
    piece = (results.root / "report" / "spam" / "Results.html").read_text(encoding="utf-8")
    assert '<h1 class="unseen"><bdi class="data">spam: Results</bdi></h1>' in piece


def test_same_files_give_the_same_bytes(results: Results, html: str) -> None:
    assert results.build() == html


HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "<svg onload=alert(1)>$x^2$",
    "$\\frac{1}{0}$ {{ 7*7 }} {% raw %}",
    "</style></title></pre><iframe src=//x>",
    "\u202egnp.exe\u202c \u2066\u200f\x00\x1b[2J\x85",
]


def hostile_results(folder: Path, texts: list[str]) -> Results:
    """Six texts where texts, labels, categories, answers, reasons, places and machines are expected."""
    results = Results(folder)
    results.labels = [texts[0], texts[1], texts[2]]
    results.write()
    del results.settings["runs"]["spam"]
    frame = pd.read_parquet(folder / "spam-random/seed-1/predictions.parquet")
    frame["text"] = [texts[row % len(texts)] + "x" * 1_000_000 * (row == 7) for row in frame["id"]]
    frame["prediction"] = texts[0]
    frame[[f"probability_{label}" for label in results.labels]] = [0.9, 0.1, 0.0]
    results.table("spam-random/seed-1/predictions.parquet", frame)
    answers = [
        {**response(item, False), **dict.fromkeys(("instruction", "input", "response"), text), "category": text}
        for item, text in enumerate([*texts, "y" * 1_000_000])
    ]
    results.lines("assistant/seed-1/responses.jsonl", answers)
    results.lines("assistant/before/responses.jsonl", answers)

    def rename(summary: dict[str, Any]) -> None:
        summary["categories"] = dict(zip(texts, [*summary["categories"].values()] * 2, strict=True))

    results.edit("assistant/summary.json", rename)
    results.edit(
        "spam-random/seed-1/provenance.json",
        lambda p: p.update(device=texts[0], git_commit=texts[1], platform=texts[5]),
    )
    results.edit("prepared/sms.json", lambda report: report["dropped"].update({texts[4]: 3}))
    results.settings["datasets"]["sms"]["sources"] = [{"path": texts[4]}]
    return results


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    html = hostile_results(tmp_path, HOSTILE).build()

    page = assert_inert(html)
    assert len(html) < 700_000
    assert "… 999,400 more characters" in page.said("run-1")
    assert f"⟨{1_000_000 + len(HOSTILE[1]) - 4000:,} more characters⟩" in html
    for text in HOSTILE[:5]:
        assert text in page.text["run-1"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+2066⟩⟨U+200F⟩⟨U+0000⟩⟨U+001B⟩[2J⟨U+0085⟩" in page.text["run-1"]
    charts = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    assert "&lt;svg onload=alert(1)&gt;$x^2$" in charts
    assert any(label.startswith("$\\frac{1}{0}$ {{") for label in charts)


def test_texts_are_cut_with_the_count_of_what_is_missing() -> None:
    assert untrusted("a" * 700) == f'<bdi class="data">{"a" * 600}</bdi><span class="cut">… 100 more characters</span>'
    assert untrusted("a" * 600) == f'<bdi class="data">{"a" * 600}</bdi>'
    assert plain("abcdef", 3) == "abc…"
    assert plain("line\r\nbreak\ttab") == "line\nbreak\ttab"


# ---- wording -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "low", "high", "word"),
    [
        ("f1", 0.01, 0.04, "better"),
        ("f1", -0.04, -0.01, "worse"),
        ("f1", -0.01, 0.04, "no difference found"),
        ("f1", 0.0, 0.04, "no difference found"),
        ("loss", -0.3, -0.1, "better"),
        ("perplexity", 0.1, 0.3, "worse"),
        ("roc_auc", None, None, "undefined"),
    ],
)
def test_verdict_follows_the_interval(metric: str, low: float | None, high: float | None, word: str) -> None:
    assert verdict(metric, low, high) == word


def test_headline_names_the_strongest_baseline() -> None:
    summary = classification_summary("spam", "small", [1], 905, 0.93)
    summary["baselines"]["majority"]["f1"] = around(0.95)
    assert "majority class 0.950" in str(headline(summary))


def test_a_lead_of_the_baseline_is_said_plainly() -> None:
    better = classification_summary("spam", "small", [1], 905, 0.95)
    assert warning(better) is None
    unsure = classification_summary("spam", "small", [1, 2], 905, 0.885)
    said = warning(unsure)
    assert said is not None
    assert said.startswith("TF-IDF + logistic regression scored higher here: F1 0.912 against 0.885")
    assert "905 test texts" in said
    assert "the mean of 2 seeds" in said
    assert said.endswith("The interval holds 0, so chance is not ruled out.")


# ---- other shapes of results, and faults ------------------------------------------------------------------


def test_three_classes_and_undefined_values(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.labels = ["bad", "good", "mixed"]
    del results.settings["runs"]["spam"], results.settings["runs"]["assistant"]
    results.write()
    undefined = {"mean": None, "standard_deviation": None, "low": None, "high": None, "by_seed": {"1": None}}
    results.edit("spam-random/summary.json", lambda summary: summary["metrics"].update(roc_auc=undefined))
    page = assert_inert(results.build())
    assert "ROC curve, each class against the rest, mean of 3" in page.said("run-0")
    assert "ROC AUC – " in page.said("run-0")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    (tmp_path / "spam/seed-2/history.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"spam/seed-2/history\.parquet: not a readable Parquet file"):
        results.build()
    (tmp_path / results.stages[0]).write_text("{}\n{broken\n")
    (tmp_path / "spam/summary.json").unlink()
    with pytest.raises(UserError, match=r"spam/summary\.json: the report needs this file"):
        results.build()
    results.write()
    (tmp_path / results.stages[0]).write_text("{}\n{broken\n")
    with pytest.raises(UserError, match=r"seed-1\.jsonl, line 2, column 2: not valid JSON"):
        results.build()
    assert not (tmp_path / "report.html").exists()
