"""The pages in docs/ name what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_each_test_that_stands_for_a_promise_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / file).read_text()


def test_promises_are_found() -> None:
    assert len(NAMED) > 40
