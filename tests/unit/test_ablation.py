"""An ablation: what its config refuses, its figures against those worked out by hand, its section of the report."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from gptsmith.config.evaluation import Evaluation
from gptsmith.config.load import load_config
from gptsmith.errors import UserError
from gptsmith.evaluation.ablation import _seeds_interval, summarize_ablation
from gptsmith.files import write_json
from gptsmith.report.ablation import view
from gptsmith.report.build import build_report

MODEL = {
    "tokenizer": "bpe",
    "architecture": {"context_length": 16, "d_model": 16, "n_layers": 1, "n_heads": 4},
    "pretrain": {"datasets": ["books"]},
}
CONFIG: dict[str, Any] = {
    "name": "parts",
    "datasets": {"books": {"task": "text", "sources": [{"path": "books.txt"}], "format": {"type": "text"}}},
    "tokenizers": {"bpe": {"train_on": ["books"], "vocab_size": 300}},
    "models": {"small": MODEL, "blank": {key: MODEL[key] for key in ("tokenizer", "architecture")} | {"random": True}},
    "ablation": {"model": "small", "variants": {"lower": {"norm": "rms_norm"}, "torn": {"bias": False}}},
}
UNSPLIT = {"train": 1, "validation": 0, "test": 0}


def problems(**ablation: Any) -> list[str]:
    with pytest.raises(UserError) as raised:
        load_config(CONFIG | {"ablation": CONFIG["ablation"] | ablation})
    return [line.removeprefix("config: ablation.") for line in str(raised.value).splitlines()]


def test_a_config_with_an_ablation_needs_no_run() -> None:
    config = load_config(CONFIG)
    assert config.ablation is not None
    assert config.models["small"].architecture is not None
    shapes = config.ablation.architectures(config.models["small"].architecture)
    assert [(name, shape.norm) for name, shape in shapes.items()] == [
        ("baseline", "layer_norm"),
        ("lower", "rms_norm"),
        ("torn", "layer_norm"),
    ]
    with pytest.raises(UserError, match=r"^config: runs: missing; name at least one run, or an ablation$"):
        load_config({key: value for key, value in CONFIG.items() if key != "ablation"})


@pytest.mark.parametrize(
    ("variant", "problem"),
    [
        ({"norms": "rms_norm"}, "norms: unknown key; did you mean 'norm'?"),
        ({"norm": "batch"}, "norm: input should be 'layer_norm' or 'rms_norm' (found 'batch')"),
        ({"n_kv_heads": 3}, "n_heads (4) must be a multiple of n_kv_heads (3)"),
        ({"norm": "layer_norm"}, "changes nothing: it would be the baseline again"),
        ({}, "changes nothing: it would be the baseline again"),
        ({"vocab_size": 400}, "vocab_size: cannot differ, the tokenizer gives it"),
        ({"context_length": 8}, "context_length: cannot differ, all variants read the same windows"),
    ],
)
def test_a_variant_is_checked_as_an_architecture(variant: dict[str, Any], problem: str) -> None:
    assert problems(variants={"mine": variant}) == [f"variants.mine: {problem}"]


def test_other_problems_of_an_ablation() -> None:
    assert problems(model="smal") == ["model: no model is called 'smal'; did you mean 'small'?"]
    assert problems(model="blank") == ["model: blank is not pretrained here; name one with `pretrain`"]
    assert problems(seeds=[1, 1]) == ["seeds: a seed is named twice"]
    taken = "variants.baseline: the name is taken by the model as it is; choose another"
    assert problems(variants={"baseline": {"bias": False}}) == [taken]
    file = "variants.steps.json: the name of a folder beside files that end in .json; choose another"
    assert problems(variants={"steps.json": {"bias": False}}) == [file]
    twice = {"one": {"bias": False}, "two": {"norm": "rms_norm"}, "three": {"bias": False, "norm": "layer_norm"}}
    assert problems(variants=twice) == ["variants.three: is the same as one; remove one of them"]
    assert "string should match pattern" in problems(variants={"a/b": {"bias": False}})[0]
    assert "at least 1 item" in problems(variants={})[0]
    unsplit = CONFIG["datasets"]["books"] | {"split": UNSPLIT}
    with pytest.raises(UserError, match=r"ablation\.model: its datasets have neither a test nor a validation split"):
        load_config(CONFIG | {"datasets": {"books": unsplit}})


@pytest.mark.parametrize(
    ("books", "split"),
    [
        ({}, "validation"),
        ({"split": {"train": 0.8, "validation": 0.1, "test": 0.1}}, "test"),
        ({"task": "classification", "split": UNSPLIT, "test_sources": [{"path": "tests.txt"}]}, "test"),
        ({"task": "instruction", "split": UNSPLIT, "mechanical": {"train": 1, "validation": 1, "test": 1}}, "test"),
        (
            {"task": "instruction", "split": UNSPLIT, "mechanical": {"train": 1, "validation": 1, "test": 0}},
            "validation",
        ),
    ],
)
def test_losses_are_measured_on_a_split_that_has_rows(books: dict[str, Any], split: str) -> None:
    changed = CONFIG["datasets"]["books"] | {"format": {"type": "jsonl"}} | books
    assert load_config(CONFIG | {"datasets": {"books": changed}}).ablation_split == split


# ---- the summary ------------------------------------------------------------------------------------

# Nats of three windows of 10, 10 and 5 tokens, by variant and seed.
NLL = {
    "baseline": {1: [20.0, 30.0, 10.0], 2: [22.0, 28.0, 10.0]},
    "lower": {1: [18.0, 28.0, 9.0], 2: [21.0, 25.5, 9.0]},
    # Lower with both, but far more with one than with the other.
    "torn": {1: [10.0, 20.0, 5.0], 2: [21.5, 27.5, 9.5]},
}
# Two blocks of three rounds: of a block the median counts, so one step that was held up does not.
SECONDS = {
    "baseline": [[1.0, 1.0, 9.0], [2.0, 2.0, 2.0]],
    "lower": [[2.0, 2.0, 2.0], [2.5, 2.5, 2.5]],
    "torn": [[1.0, 1.0, 9.0], [2.0, 2.0, 2.0]],
}


def summary_in(folder: Path, seeds: Sequence[int] = (1, 2), evaluations: int = 2) -> dict[str, Any]:
    for name, by_seed in NLL.items():
        for seed, nll in by_seed.items():
            place = folder / name / f"seed-{seed}"
            place.mkdir(parents=True, exist_ok=True)
            windows = {"id": [0, 1, 2], "negative_log_likelihood": nll, "target_tokens": [10, 10, 5]}
            pq.write_table(pa.table(windows), place / "windows.parquet")
            splits = ["validation"] * evaluations + ["train"] * (3 - evaluations)
            course = {"tokens": [0, 50, 50], "split": splits, "loss": [5, 3 + seed, 4]}
            pq.write_table(pa.table(course), place / "history.parquet")
    facts = {"device": "cpu", "threads": 1, "precision": "fp32", "platform": "Linux"}
    counted = {key: dict.fromkeys(NLL, 2**20) for key in ("step_bytes", "parameters", "cache_bytes")}
    steps = {"step_tokens": [[100, 100, 100], [100, 100, 100]], "step_seconds": SECONDS, **counted, **facts}
    write_json(folder / "steps.json", steps)
    summarize_ablation(
        model="small",
        split="test",
        variants=[("baseline", {}), ("lower", {"norm": "rms_norm"}), ("torn", {"bias": False})],
        seeds=seeds,
        results=folder,
        steps=folder / "steps.json",
        settings=Evaluation(bootstrap_samples=400),
        output=folder / "summary.json",
    )
    return json.loads((folder / "summary.json").read_text())


def test_losses_are_means_over_seeds_and_differences_are_paired(tmp_path: Path) -> None:
    summary = summary_in(tmp_path)
    assert (summary["windows"], summary["tokens"], summary["seeds"]) == (3, 25, [1, 2])
    baseline, lower, torn = summary["rows"]
    assert baseline["loss"]["by_seed"] == pytest.approx({"1": 60 / 25, "2": 60 / 25})
    assert baseline["difference"] is None
    assert lower["loss"]["mean"] == pytest.approx((55 + 55.5) / 2 / 25)
    assert lower["loss"]["standard_deviation"] == pytest.approx(0.5 / 25 / 2**0.5)
    assert lower["difference"]["by_seed"] == pytest.approx({"1": -5 / 25, "2": -4.5 / 25})
    # Each window is lower, by 1.5, 2.25 and 1 nats in the mean: whichever are drawn, the difference is among these.
    assert -0.22501 <= lower["difference"]["low"] <= lower["difference"]["high"] <= -0.15
    # Which a difference that is not paired would not show.
    assert lower["loss"]["high"] > baseline["loss"]["low"]
    assert torn["difference"]["high"] < 0
    assert [len(row["course"]) for row in summary["rows"]] == [2, 2, 2]
    assert baseline["course"] == [[0, 5], [50, 4.5]]


def test_a_speed_is_the_mean_over_blocks_of_the_median_round(tmp_path: Path) -> None:
    baseline, lower, _ = summary_in(tmp_path)["rows"]
    assert baseline["tokens_per_second"] == {"value": 75, "low": 50, "high": 100}
    assert baseline["speed_ratio"] is None
    # Ratios of rounds: 0.5 in the first block, but for the held-up one, and 0.8 in the second.
    assert lower["speed_ratio"] == pytest.approx({"value": 0.65, "low": 0.5, "high": 0.8})


def test_the_interval_over_seeds_is_students() -> None:
    # Of three differences with the mean 2 and the standard deviation 1: 4.303 standard errors.
    assert _seeds_interval([1.0, 2.0, 3.0], 0.95) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    drawn = np.random.default_rng(0).normal(size=(2000, 3))
    wrong = [low > 0 or high < 0 for low, high in (_seeds_interval(list(one), 0.95) for one in drawn)]
    assert 0.035 < np.mean(wrong) < 0.065


def test_figures_of_other_windows_are_refused(tmp_path: Path) -> None:
    NLL["torn"][2].append(1.0)
    try:
        with pytest.raises(pa.ArrowInvalid):
            summary_in(tmp_path)
    finally:
        NLL["torn"][2].pop()


# ---- the report -------------------------------------------------------------------------------------


def provenance_in(folder: Path) -> list[Path]:
    files = [folder / name / f"seed-{seed}" / "provenance.json" for name, seeds in NLL.items() for seed in seeds]
    for file in files:
        found = {"started": "2026-01-02T03:04:05+00:00", "git_commit": None, "git_dirty": None, "platform": "Linux"}
        write_json(file, found | {"inputs": {"tokens": "0" * 64}, "versions": {"torch": "2"}, "python": "3"})
    return files


def test_a_variant_is_better_only_where_the_seeds_allow_it(tmp_path: Path) -> None:
    summary = summary_in(tmp_path)
    assert all(value < 0 for value in summary["rows"][2]["difference"]["by_seed"].values())
    shown = view(summary, load_config(CONFIG), provenance_in(tmp_path))
    assert [row.verdict for row in shown.rows] == [None, "better", "no difference found"]
    assert shown.lead.startswith("The loss is lower than the baseline's with lower (−0.1")
    assert shown.lead.endswith("no different, so far as can be seen, with torn.")
    assert [row.memory for row in shown.rows] == ["1 MB"] * 3
    assert [(one.name, one.seed) for one in shown.trainings][-2:] == [("torn", 1), ("torn", 2)]


def test_one_seed_gives_no_verdict(tmp_path: Path) -> None:
    shown = view(summary_in(tmp_path, seeds=[1]), load_config(CONFIG), [])
    assert [row.verdict for row in shown.rows] == [None, "no difference found", "no difference found"]
    assert shown.lead == "One seed tells no difference from the luck of its weights: no verdicts."


def test_undefined_intervals_are_said_to_be(tmp_path: Path) -> None:
    summary = summary_in(tmp_path)
    for row in summary["rows"][1:]:
        row["difference"] |= {"low": None, "high": None}
    shown = view(summary, load_config(CONFIG), [])
    assert shown.lead == "No difference of the losses is defined."
    assert [row.verdict for row in shown.rows] == [None, "undefined", "undefined"]


@pytest.mark.parametrize("evaluations", [0, 1])
def test_without_validation_there_is_no_course(tmp_path: Path, evaluations: int) -> None:
    summary = summary_in(tmp_path, evaluations=evaluations)
    assert len(summary["rows"][0]["course"]) == evaluations
    assert [figure.caption[:11] for figure in view(summary, load_config(CONFIG), []).figures] == ["What each v"]


def test_a_value_that_is_left_out_is_null(tmp_path: Path) -> None:
    summary = summary_in(tmp_path)
    summary["rows"][1]["changes"] = {"n_kv_heads": None, "bias": False}
    assert view(summary, load_config(CONFIG), []).rows[1].changes == "n_kv_heads: null, bias: false"


def test_the_page_names_the_lowest_loss_only_where_it_is_better(tmp_path: Path) -> None:
    html = page_of(tmp_path, summary_in(tmp_path))
    # The lowest of all is that of torn; why it has no verdict stands beside it.
    assert "over seeds [−" in html
    assert re.search(r"<span>Loss: (<[^>]*>)*baseline<", html)
    summary = summary_in(tmp_path)
    del summary["rows"][2]
    html = page_of(tmp_path, summary, {"lower": {"norm": "rms_norm"}})
    assert re.search(r"<span>Lowest loss: (<[^>]*>)*lower<", html)
    assert "1 variant of a model" in html
    assert "intervals over the test split" not in html


def test_the_page_says_what_was_varied_and_in_which_order(tmp_path: Path) -> None:
    html = page_of(tmp_path, summary_in(tmp_path), {"torn": {"bias": False}, "lower": {"norm": "rms_norm"}})
    assert "1 layers, 4 heads, width 16" in html
    assert "next-token prediction on the training split of books" in html
    reproduce = html[html.index('id="reproduce"') :]
    assert reproduce.index("lower:") < reproduce.index("torn:")


@pytest.mark.parametrize("file", ["piece.rst", "workflow.rst"])
@pytest.mark.parametrize("config", ["config/ablation.yaml", "config.yaml"])
def test_captions_know_a_config_without_runs(file: str, config: str) -> None:
    root = Path(__file__).parents[2]
    settings = yaml.safe_load((root / config).read_text())
    run, model = ("spam", "starter") if "runs" in settings else ("ablation", "small")
    facts = {"config": settings, "wildcards": SimpleNamespace(run=run, part="Results")}
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
        (root / "workflow" / "report" / file).read_text()
    )
    said = template.render(snakemake=SimpleNamespace(**facts))
    assert model in said
    assert ("fine-tuned" in said) == ("runs" in settings)
    assert ("each of its parts swapped" in said) == ("ablation" in settings)


def page_of(folder: Path, summary: dict[str, Any], variants: dict[str, Any] | None = None) -> str:
    write_json(folder / "summary.json", summary)
    page = folder / "report.html"
    ablation = CONFIG["ablation"] | ({"variants": variants} if variants else {})
    build_report(
        "parts",
        CONFIG | {"ablation": ablation},
        folder,
        prepared={},
        stages=[],
        verifications={},
        output=page,
        ablated=folder / "summary.json",
        variants=provenance_in(folder),
    )
    return page.read_text()


def test_a_report_without_runs_has_the_table_and_escapes_what_it_shows(tmp_path: Path) -> None:
    summary = summary_in(tmp_path)
    summary["rows"][1]["changes"] = {"norm": "<script>alert(1)</script>"}
    html = page_of(tmp_path, summary)
    assert "<script>alert" not in html
    assert "norm: &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert '<a href="#ablation">Ablation</a>' in html
    assert 'href="#models"' not in html
    assert sorted(path.name for path in (tmp_path / "report" / "ablation").iterdir()) == [
        "Results.html",
        "Validation loss while pretraining.html",
        "What each variant changes in the loss.html",
    ]
    assert np.isclose(summary["rows"][1]["loss"]["mean"], 2.21)
