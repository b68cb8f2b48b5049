"""The HTML report as a whole, from synthetic results of small made-up runs."""

import re
from pathlib import Path

import pytest
from report_files import Results, hostile_results
from report_page import Page, assert_inert

from gptsmith.config.load import settings_hash
from gptsmith.errors import UserError
from gptsmith.report.charts import Dots, growth_chart
from gptsmith.report.text import plain, untrusted


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


def test_origin_of_models_is_told_as_it_is(page: Page) -> None:
    said = page.said("models")
    assert "pretrained in this pipeline: next-token prediction on the training split of books" in said
    assert "random weights, nothing pretrained" in said
    assert "imported from the folder models/mine" in said
    assert "published" not in said


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
