"""What a long table puts into the page."""

import json

import pytest

from gptsmith.report import data_table
from gptsmith.report.data_table import Column, DataTable, preview, script_json

COLUMNS = [Column("No.", "number"), Column("Text", "text")]


def table(*rows: list[object]) -> DataTable:
    return DataTable("items", "Items", COLUMNS, list(rows))


def test_json_ends_no_script_and_reads_back() -> None:
    value = {"rows": ["</script><!--<script>", "a & b", "\u2028\u2029", 'say "hi" \\ \n', "é ✓"]}
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_texts_are_cut_and_cleaned_and_numbers_rounded() -> None:
    rows = table([1, "\u202egnp.exe\x00"], [0.123456789, "x" * 5000], [float("nan"), ""], [None, 7]).shown()
    assert rows[0] == [1, "⟨U+202E⟩gnp.exe⟨U+0000⟩"]
    assert rows[1] == [0.123457, "x" * 4000 + "… ⟨1,000 more characters⟩"]
    assert rows[2:] == [[None, ""], [None, "7"]]


def test_heads_say_how_many_digits_a_number_has() -> None:
    columns = [Column("No.", "number", digits=0), Column("Probability", "number"), Column("Text", "text")]
    assert [head[2] for head in DataTable("items", "Items", columns, []).heads()] == [0, 3, 3]


def test_rows_that_would_swell_the_page_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_table, "MOST_ROWS", 4)
    assert [row[0] for row in table(*([place, "text"] for place in range(9))).shown()] == [0, 1, 2, 3]
    monkeypatch.setattr(data_table, "MOST_CHARACTERS", 10)
    assert [row[0] for row in table(*([place, "text"] for place in range(9))).shown()] == [0, 1]


def test_a_long_text_or_one_of_many_lines_begins_with_a_preview() -> None:
    assert preview("x" * 300) is None
    assert preview("x" * 400) == "x" * 280
    assert preview("line\n" * 6) is None
    assert preview("a\nb\nc\nd\ne\nf\ng\nh") == "a\nb\nc\nd\ne\nf"
