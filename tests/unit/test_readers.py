import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptsmith.config.datasets import Format
from gptsmith.data import json_objects, parquet_rows, readers, text_files
from gptsmith.data.readers import Rows, read_rows
from gptsmith.data.shards import Shard
from gptsmith.errors import UserError

MIRROR = Path(__file__).parents[3] / "shared/mirror"
SMS_ZIP = MIRROR / "archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
HEADLESS_TSV = {"type": "tsv", "columns": ["label", "text"], "quoting": "none"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short name, so that messages are as a user in that folder sees them."""
    monkeypatch.chdir(tmp_path)
    return Path("mine")


def read(path: Path, content: str | bytes, wanted: str = "label text", **settings: Any) -> Rows:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return together(read_rows(path, Format(**settings), wanted.split()))


def together(batches: Iterable[Rows]) -> Rows:
    path, unit, columns, numbers = Path(), "", dict[str, list[str]](), list[int]()
    for rows in batches:
        path, unit = rows.path, rows.unit
        numbers += rows.numbers
        for name, values in rows.columns.items():
            columns.setdefault(name, []).extend(values)
    return Rows(path, columns, unit, numbers)


def refusal(path: Path, content: str | bytes | None, wanted: str = "label text", **settings: Any) -> str:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        list(read_rows(path, Format(**settings), wanted.split()))
    message = str(caught.value)
    assert message.startswith("mine")
    assert message.count("\n") <= 1
    return message


def test_csv_fields_may_span_lines_and_each_row_knows_its_first(path: Path) -> None:
    rows = read(path, 'label,text\nham,"one, two\nthree ""four"""\n\nspam,five\n', type="csv")
    assert rows.columns == {"label": ["ham", "spam"], "text": ['one, two\nthree "four"', "five"]}
    assert [rows.place(row) for row in range(len(rows))] == ["mine, line 2", "mine, line 5"]


def test_only_the_wanted_columns_are_returned(path: Path) -> None:
    rows = read(path, ",spam,text\n0,1,win\n1,0,ok\n", "text spam", type="csv")
    assert rows.columns == {"text": ["win", "ok"], "spam": ["1", "0"]}


def test_csv_as_excel_on_windows_writes_it(path: Path) -> None:
    content = 'label;text\r\nham;schön, 5 €\r\nspam;"a\r\nb"\r\n'.encode("cp1252")
    rows = read(path, content, type="csv", delimiter=";", encoding="cp1252")
    assert rows.columns == {"label": ["ham", "spam"], "text": ["schön, 5 €", "a\r\nb"]}
    assert rows.numbers == [2, 3]


@pytest.mark.parametrize(("written", "encoding"), [("utf-8-sig", "utf-8"), ("utf-16", "utf-16")])
def test_byte_order_mark_is_skipped(path: Path, written: str, encoding: str) -> None:
    rows = read(path, "label,text\nham,é\n".encode(written), type="csv", encoding=encoding)
    assert rows.columns == {"label": ["ham"], "text": ["é"]}


def test_field_longer_than_the_csv_modules_own_limit(path: Path) -> None:
    assert len(read(path, f"label,text\nham,{'x' * 200_000}\n", type="csv").columns["text"][0]) == 200_000


def test_tsv_without_header_where_quotation_marks_are_ordinary(path: Path) -> None:
    rows = read(path, 'ham\tsays "hi\nspam\t"win\n', **HEADLESS_TSV)
    assert rows.columns["text"] == ['says "hi', '"win']
    assert rows.numbers == [1, 2]


def test_json_numbers_keep_their_digits_and_null_or_a_lacking_key_is_empty(path: Path) -> None:
    content = '[{"label": 1, "text": 1.50}, {"label": true, "text": null}, {"label": "x", "other": []}]'
    rows = read(path, content, type="json")
    assert rows.columns == {"label": ["1", "true", "x"], "text": ["1.50", "", ""]}
    assert rows.place(2) == "mine, entry 3"


def test_json_lines(path: Path) -> None:
    rows = read(path, '{"label": "a", "text": "x\u2028y"}\r\n\n{"label": "b", "text": "z"}', type="jsonl")
    assert rows.columns == {"label": ["a", "b"], "text": ["x\u2028y", "z"]}
    assert rows.numbers == [1, 3]


def test_parquet(path: Path) -> None:
    label = pa.array(["a", "b"]).dictionary_encode()
    text = pa.array(["x", None], pa.large_string())
    pq.write_table(pa.table({"label": label, "text": text, "n": [1, 2], "f": [0.5, float("nan")]}), path)
    rows = together(read_rows(path, Format(type="parquet"), ["label", "text", "n", "f"]))
    assert rows.columns == {"label": ["a", "b"], "text": ["x", ""], "n": ["1", "2"], "f": ["0.5", ""]}
    assert rows.place(1) == "mine, row 2"


def test_text_is_one_document(path: Path) -> None:
    assert read(path, "\ufeffone\ntwo\n", "text", type="text").columns == {"text": ["one\ntwo\n"]}


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        (None, {"type": "csv"}, ["no such file"]),
        (None, {"type": "parquet"}, ["no such file"]),
        ("", {"type": "csv"}, ["is empty"]),
        ("\ufeff \n", {"type": "json"}, ["is empty"]),
        ("label,text\n", {"type": "csv"}, ["no rows"]),
        ("[]", {"type": "json"}, ["no rows"]),
        # columns
        ("Label,texts\na,b\n", {"type": "csv"}, ["line 1", "no column 'label'", "'Label', 'texts'", "mean 'Label'?"]),
        ("ham\tx\n", {"type": "tsv"}, ["line 1", "no column 'label'", "format.columns"]),
        ("ham\tx\n", {**HEADLESS_TSV, "columns": ["a", "text"]}, ["format.columns", "no column 'label'"]),
        ("label;text\nham;x\n", {"type": "csv"}, ["no column 'label'", "';'", "format.delimiter"]),
        ("label\ttext\nham\tx\n", {"type": "csv"}, ["no column 'label'", "'\\t'", "format.delimiter"]),
        ("label,text,text\nham,x,y\n", {"type": "csv"}, ["line 1", "2 columns", "'text'"]),
        ('[{"label": "a", "txt": "b"}]', {"type": "json"}, ["no column 'text'", "mean 'txt'?"]),
        # rows
        ("label,text\nham,a\nham,b,c\n", {"type": "csv"}, ["line 3", "found: 3, expected: 2", "quotation marks"]),
        ('label,text\n"a\nb",c\nham\n', {"type": "csv"}, ["line 4", "found: 1, expected: 2"]),
        ('label,text\nham,a\nham,"b\nham,c\n', {"type": "csv"}, ["line 3", "quoted field", "format.quoting: none"]),
        ('label,text\nham,"a" b\n', {"type": "csv"}, ["line 2", "quoted field"]),
        # encodings
        ("label,text\nham,é\n".encode("cp1252"), {"type": "csv"}, ["line 2, byte 15", "utf-8", "cp1252"]),
        ("label,text\nham,é\n".encode("utf-16"), {"type": "csv"}, ["byte 0", "format.encoding: utf-16"]),
        ("label,text\nham,e\n".encode("utf-16-le"), {"type": "csv"}, ["line 1", "NUL", "utf-16-le"]),
        ("label,text\nham,a\0b\n", {"type": "csv"}, ["line 2", "NUL"]),
        ('[{"label": "a", "text": "\\ud83d"}]', {"type": "json"}, ["entry 1", "'text'", "U+D83D"]),
        # JSON
        ('[{"label": "a",\n "text": "b', {"type": "json"}, ["line 2, column 10", "not valid JSON"]),
        ('{"label": "a", "text": "b"}\n{"label": "a"}', {"type": "json"}, ["line 2", "format.type: jsonl"]),
        ('{"label": {"0": "a"}}', {"type": "json"}, ["an object", "list of objects"]),
        ('[{"label": "a", "text": "b"}, "c"]', {"type": "json"}, ["entry 2", "a single value", "object"]),
        ('[{"label": "a", "text": ["b"]}]', {"type": "json"}, ["entry 1, column 'text'", "a list", "text"]),
        ("[" * 100_000, {"type": "json"}, ["nested too deeply"]),
        ('{"label": "a", "text": "b"}\n{"label"\n', {"type": "jsonl"}, ["line 2, column 9", "not valid JSON"]),
        ('[\n{"label": "a", "text": "b"}]\n', {"type": "jsonl"}, ["line 1", "format.type: json"]),
        # Parquet, text
        (b"PAR1 and no more", {"type": "parquet"}, ["cannot be read as Parquet"]),
        ("one document", {"type": "text"}, ["'label', 'text'"]),
    ],
)
def test_refusals_name_the_place_and_the_remedy(
    path: Path, content: str | bytes | None, settings: dict[str, Any], said: list[str]
) -> None:
    message = refusal(path, content, **settings)
    for words in said:
        assert words in message


def test_parquet_refusals(path: Path) -> None:
    table = pa.table({"label": ["a", "b"], "text": [["nested"], ["list"]]})
    pq.write_table(table, path)
    assert "row 1, column 'text': a list where text" in refusal(path, None, type="parquet")
    pq.write_table(table.rename_columns(["label", "Text"]), path)
    assert "Did you mean 'Text'?" in refusal(path, None, type="parquet")
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read as Parquet" in refusal(path, None, type="parquet")


def test_folder_instead_of_a_file(path: Path) -> None:
    path.mkdir()
    assert "folder" in refusal(path, None, type="csv")


def test_unknown_encoding(path: Path) -> None:
    with pytest.raises(UserError, match=r"format\.encoding: .*'utf-9'"):
        read(path, "label,text\n", type="csv", encoding="utf-9")


@pytest.mark.skipif(not SMS_ZIP.is_file(), reason="the mirror with the SMS Spam Collection is not there")
def test_sms_spam_collection(path: Path) -> None:
    rows = read(path, zipfile.ZipFile(SMS_ZIP).read("SMSSpamCollection"), **HEADLESS_TSV)
    assert len(rows) == 5574
    assert rows.columns["label"].count("spam") == 747
    assert len(set(rows.columns["text"])) == 5171


@pytest.mark.skipif(not MIRROR.is_dir(), reason="the mirror with the instruction data is not there")
def test_instruction_data(path: Path) -> None:
    found = next(MIRROR.rglob("instruction-data.json"))
    rows = together(read_rows(found, Format(type="json"), ["instruction", "input", "output"]))
    assert [dict(zip(rows.columns, entry, strict=True)) for entry in zip(*rows.columns.values(), strict=True)] == (
        json.loads(found.read_text(encoding="utf-8"))
    )


# Batches and shards

LINES = st.lists(st.text("abé\u2028 ", max_size=9), max_size=30)


def written(path: Path, layout: str, texts: list[str], lines: list[int]) -> Format:
    """Write `texts`, and before each of them as many blank lines as `lines` say."""
    if layout == "parquet":
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=3)
        return Format(type="parquet")
    if layout == "json":
        path.write_text(json.dumps([{"text": text} for text in texts], indent=1), encoding="utf-8")
        return Format(type="json")
    rows = {
        "jsonl": [json.dumps({"text": text}, ensure_ascii=False) for text in texts],
        "tsv": [f"{text}\t-" for text in texts],
        "csv": ['"' + text.replace(" ", "\r\n") + '",-' for text in texts],
    }[layout]
    header = {"jsonl": "", "tsv": "text\tb\r\n", "csv": "text,b\n"}[layout]
    path.write_bytes(
        ("\ufeff" + header + "".join("\n" * n + row + "\n" for n, row in zip(lines, rows, strict=False))).encode()
    )
    return Format(type=layout, quoting="none" if layout == "tsv" else "minimal")  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["csv", "tsv", "jsonl", "json", "parquet"])
@settings(derandomize=True, deadline=None, max_examples=60)
@given(texts=LINES, lines=st.lists(st.integers(0, 2), min_size=30, max_size=30), block=st.integers(1, 40))
def test_blocks_and_shards_of_any_size_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, layout: str, texts: list[str], lines: list[int], block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows"
    format_ = written(path, layout, texts, lines)
    if not texts:
        with pytest.raises(UserError, match=r"the file holds no rows|the file is empty"):
            list(read_rows(path, format_, ["text"]))
        return
    whole = together(read_rows(path, format_, ["text"]))
    assert whole.columns["text"] == ([text.replace(" ", "\r\n") for text in texts] if layout == "csv" else texts)
    with pytest.MonkeyPatch.context() as patch:
        for module in (readers, json_objects, parquet_rows, text_files):
            patch.setattr(module, "BLOCK", block)
        batches = list(read_rows(path, format_, ["text"]))
        assert together(batches) == whole
        assert all(len(rows) == 1 or sum(map(len, rows.columns["text"][:-1])) < block for rows in batches)
        for total in (2, 3, 8):
            shards = [together(read_rows(path, format_, ["text"], Shard(number, total))) for number in range(total)]
            assert [text for shard in shards for text in shard.columns.get("text", [])] == whole.columns["text"]


def test_a_shard_begins_where_a_line_does(path: Path) -> None:
    path.write_text("".join(f'{{"text": "{n:04}"}}\n' for n in range(1000)))
    counts = [len(together(read_rows(path, Format(type="jsonl"), ["text"], Shard(n, 8)))) for n in range(8)]
    assert counts == [125] * 8


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.text("aé\n漢☕", max_size=30).map(str.encode),
    st.binary(max_size=2).filter(lambda junk: 0 not in junk),
    st.integers(0, 60),
    st.integers(1, 9),
)
def test_the_place_of_what_is_not_text_does_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, junk: bytes, at: int, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    data = text[:at] + junk + text[at:]
    path.write_bytes(data)
    mistake = not_utf_8(data)
    with pytest.MonkeyPatch.context() as patch:
        for module in (readers, json_objects, parquet_rows, text_files):
            patch.setattr(module, "BLOCK", block)
        if mistake or not data.decode().strip():
            with pytest.raises(UserError, match=mistake or "is empty"):
                list(read_rows(path, Format(type="text"), ["text"]))
        else:
            found = together(read_rows(path, Format(type="text"), ["text"])).columns["text"]
            assert found == [data.decode().removeprefix("\ufeff")]


def not_utf_8(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return f"line {line}, byte {error.start}: not valid utf-8 .{error.reason}"
    return ""


def test_columns_that_only_later_objects_have(path: Path) -> None:
    """A key that is in no object is a wrong name; one that some lack is empty there."""
    assert read(path, '{"a": "1"}\n{"a": "2", "b": "x"}\n', "a b", type="jsonl").columns["b"] == ["", "x"]
    assert "no column 'b'" in refusal(path, '{"a": "1"}\n{"a": "2"}\n', "a b", type="jsonl")


def test_utf_16_without_its_mark_that_is_broken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\0\0\0\xd8\0\0")
    with pytest.raises(UserError, match="not valid utf-16"):
        list(read_rows(path, Format(type="csv", encoding="utf-16"), ["text"]))
