"""The graph of the stages in the report."""

import re
from pathlib import Path
from xml.etree import ElementTree

from gptsmith.report.stage_graph import READS, edges_of, necessary, stage_graph
from gptsmith.report.stages import Stage

RULES = Path(__file__).parents[2] / "workflow" / "rules"


def stage(rule: str, what: str, seconds: float = 1.0, peak: float | None = 100.0) -> Stage:
    return Stage(rule, what, seconds, None, peak, None, 0.0)


STAGES = [
    stage("prepare", "mails"),
    stage("train_tokenizer", "bpe"),
    stage("tokenize", "bpe/mails"),
    stage("pretrain", "small", 40),
    stage("random_weights", "other"),
    stage("finetune", "mine/spam/seed-1", 60, 500),
    stage("finetune", "mine/spam/seed-2", 65, 600),
    stage("verify_weights", "small"),
    stage("verify_weights", "other"),
    stage("predict", "mine/spam/seed-1", 0.5, None),
]


def test_every_stage_that_is_timed_has_its_place() -> None:
    text = "".join(file.read_text() for file in RULES.glob("*.smk"))
    timed = set(re.findall(r'"logs/benchmarks/(\w+)/', text))
    assert timed | {"report"} == READS.keys()


def test_a_stage_stands_below_what_it_reads() -> None:
    order = list(READS)
    assert all(order.index(source) < order.index(rule) for rule, sources in READS.items() for source in sources)


def test_lines_that_a_longer_way_makes_plain_are_left_out() -> None:
    assert necessary({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}) == {("a", "b"), ("b", "c"), ("a", "d")}


def test_runs_start_from_their_own_models() -> None:
    names = {one.rule for one in STAGES}
    edges = edges_of(names, STAGES, {"spam": "small"})
    assert ("pretrain", "finetune") in edges
    assert ("random_weights", "finetune") not in edges
    assert {("pretrain", "verify_weights"), ("random_weights", "verify_weights")} <= edges


def test_each_rule_is_drawn_once_with_the_sums_of_its_jobs() -> None:
    drawn = stage_graph(STAGES, {"spam": "small"})
    assert drawn is not None
    svg = ElementTree.fromstring(drawn)
    texts = ["".join(text.itertext()) for text in svg.iter("text")]
    assert texts.count("finetune") == 1
    assert {"2 min 05 s", "2 jobs, 629 MB", "0.5 s", "report"} <= set(texts)
    assert "predict follows finetune" in svg.attrib["aria-label"]
    assert stage_graph([], {}) is None


def test_nothing_overlaps_and_all_is_inside() -> None:
    drawn = stage_graph(STAGES, {"spam": "small"})
    assert drawn is not None
    svg = ElementTree.fromstring(drawn)
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in svg.iter("rect")
        if "class" not in box.attrib
    ]
    assert len(boxes) == 9
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for x1, y1, w1, h1 in boxes[:number]:
            assert x + w <= x1 or x1 + w1 <= x or y + h <= y1 or y1 + h1 <= y


def test_a_stage_that_is_new_to_it_is_drawn_all_the_same() -> None:
    drawn = stage_graph([*STAGES, stage("brand_new", "thing")], {"spam": "small"})
    assert drawn is not None
    assert "brand_" in drawn
