"""What the report says of instructions."""

from pathlib import Path

import pytest
from report_files import Results, around, over_seeds
from report_page import Page, assert_inert


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results")).write()


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return Page(results.build())


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


def test_examples_show_a_hit_and_a_miss_of_each_category(page: Page) -> None:
    said = page.said("run-2").partition("Responses")[2]
    for category, hit, miss in [("plural", 0, 3), ("reverse", 1, 7), ("spelling", 5, 2)]:
        assert f"✓ exact match {category} no. {hit}" in said
        assert f"✗ no match {category} no. {miss}" in said
    assert "Fine-tuned mouses Before fine-tuning mouses" in said
