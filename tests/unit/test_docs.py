"""The pages in docs/ name what is there."""

import re
from pathlib import Path

import pytest
from test_layers import LAYERS

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_each_test_that_stands_for_a_promise_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / file).read_text()


def test_promises_are_found() -> None:
    assert len(NAMED) > 40


def test_the_design_names_every_rule_and_every_layer() -> None:
    rules = {
        name
        for file in (ROOT / "workflow" / "rules").glob("*.smk")
        for name in re.findall(r"^(?:rule|use rule \w+ as) (\w+)", file.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "design.md").read_text()))
    assert len(rules) > 20
    assert rules - named == set()
    assert set().union(*LAYERS) - named == set()
