"""Synthetic results of small made-up runs, to build reports from."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptsmith.files import write_json, write_text
from gptsmith.report.build import build_report

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
