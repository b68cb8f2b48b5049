"""Looking at a user's file finds how it is laid out and what its columns hold."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptsmith.config.datasets import Format
from gptsmith.errors import UserError
from gptsmith.inspection import table as inspection
from gptsmith.inspection.encoding import find_encoding
from gptsmith.inspection.layout import find_format
from gptsmith.inspection.table import look_at

GERMAN = [
    ("Die Lieferung kam zu spät; schön ist anders, Grüße", "Beschwerde"),
    ("Der Betrag von 30 € stimmt nicht für März", "Rechnung"),
    ("Können Sie mir bitte die Öffnungszeiten nennen?", "Frage"),
    ('Er sagte: "Das wäre zu groß"', "Beschwerde"),
] * 5


def table_of(rows: list[tuple[str, ...]], header: tuple[str, ...] | None, delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([header, *rows] if header else rows)
    return text.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table_of(GERMAN, ("text", "label"), ";"), encoding=encoding, newline="")
    assert find_encoding(path) == encoding
    table = look_at(path)
    assert table.format == Format(type="csv", delimiter=";", encoding=encoding.removesuffix("-sig"))
    assert table.columns["label"].counts == {"Beschwerde": 10, "Rechnung": 5, "Frage": 5}
    assert table.columns["text"].examples[0] == GERMAN[0][0]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Très déçu par le café\nC'était génial à Noël", "cp1252"),
        ("Очень плохой товар, верните деньги\nСпасибо, всё отлично", "cp1251"),
        ("本文,分類\n配達が遅れました。返金してください,苦情\nありがとうございます,感謝", "cp932"),
    ],
)
def test_encodings_that_are_guessed(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a").write_text(text, encoding=encoding)
    assert find_encoding(tmp_path / "a") == encoding


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("header", [("text", "label"), None])
def test_separators_and_headers(tmp_path: Path, delimiter: str, header: tuple[str, ...] | None) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table_of(GERMAN, header, delimiter), newline="")
    found = find_format(path)
    assert (found.type == "tsv") == (delimiter == "\t")
    assert found.delimiter == (delimiter if delimiter in ";|" else None)
    assert found.columns == (None if header else ["column_1", "column_2"])


def test_quotation_marks_that_are_ordinary_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('ham\t"quoted" only in part\nspam\t"never closed\nham\tplain, with; marks\n' * 300)
    assert find_format(path) == Format(type="tsv", quoting="none", columns=["column_1", "column_2"])


def test_a_field_over_the_end_of_what_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,text\n" + 'x,"one, two\nthree ""four"""\n' * 60_000)
    assert find_format(path) == Format(type="csv")


def test_json_and_lines_of_it(tmp_path: Path) -> None:
    entries = [{"text": f"number {n}", "stars": n % 5} for n in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(entries, indent=1))
    (tmp_path / "b.json").write_text("\n".join(map(json.dumps, entries)))
    assert look_at(tmp_path / "a.json").format == Format(type="json")
    table = look_at(tmp_path / "b.json")
    assert table.format == Format(type="jsonl")
    assert {name: column.kind for name, column in table.columns.items()} == {"text": "text", "stars": "category"}


def test_parquet_with_columns_of_all_kinds(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    columns = {
        "text": [f"number {n}" for n in range(40)],
        "label": pa.array(["a", "b"] * 20).dictionary_encode(),
        "score": [n / 7 for n in range(40)],
        "when": pa.array([0] * 40, pa.timestamp("s")),
        "nothing": pa.array([None] * 40, pa.string()),
        "chat": [turns] * 40,
    }
    pq.write_table(pa.table(columns), tmp_path / "data")
    table = look_at(tmp_path / "data")
    kinds = {"text": "text", "label": "category", "score": "number", "nothing": "empty", "chat": "messages"}
    assert {name: column.kind for name, column in table.columns.items()} == kinds
    assert table.unread == ["when"]
    assert table.columns["nothing"].n_empty == 40


def test_duplicates_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,more,label\nä,1,x\nä,2,x\n ä ,1,y\n,1,y\n")
    table = look_at(path)
    assert table.duplicates(["text"]) == 2
    assert table.duplicates(["text", "more"]) == 1
    assert table.sizes(["text", "more"]).tolist() == [3, 3, 3, 1]
    assert table.columns["text"].n_empty == 1


def test_of_a_large_file_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MOST_ROWS", 5000)
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "some words here,x\n" * 30_000)
    table = look_at(path)
    assert not table.is_whole
    assert 5000 <= table.rows < 10_000
    assert table.all_rows == pytest.approx(30_000, rel=0.2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n ", "the file is empty"),
        (b"PK\x03\x04rest", "a zip archive or a workbook. Save the sheet as CSV"),
        (b"\x01\x00\x07" * 50, "not a file of text"),
        (b"A story.\nIt has, as they say, commas.\nAnd an end.\n", "plain text without columns"),
        (b'{"a": [\n1]}', "where a list of objects, or an object a line"),
    ],
)
def test_what_is_no_file_of_rows(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=message):
        look_at(tmp_path / "a")


def test_a_row_that_is_not_as_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "one,x\n" * 50 + "one,two,x\n")
    with pytest.raises(UserError, match="line 52: fields found: 3, expected: 2"):
        look_at(tmp_path / "a.csv")
