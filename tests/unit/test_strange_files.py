"""Whatever file `gptsmith init` is given: a config by which it can be prepared, or a plain line and nothing written."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from gptsmith.cli.app import app
from gptsmith.config.load import load_config
from gptsmith.data.prepare import prepare
from gptsmith.data.prepared import read_report
from gptsmith.errors import UserError

WORDS = ["delivery", "late", "refund", "broken", "invoice", "wrong", "hours"]
RANDOM = random.Random(0)
ROWS = [(f"{' '.join(RANDOM.choices(WORDS, k=8))} {n}", "xy"[n % 2]) for n in range(60)]
OBJECTS = [{"text": text, "label": label} for text, label in ROWS]


def table(rows: Sequence[tuple[Any, Any]] = ROWS, mark: str = ",", header: str = "text,label") -> str:
    return header.replace(",", mark) + "\n" + "".join(f"{text}{mark}{label}\n" for text, label in rows)


def lines(objects: Sequence[Any] = OBJECTS) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in objects)


def chats(*roles: str, names: Sequence[str] = ("role", "content")) -> list[dict[str, Any]]:
    return [{"chat": [dict(zip(names, (role, f"{role} says {n}"), strict=True)) for role in roles]} for n in range(30)]


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def zipped(name: str, content: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, content)
    return sink.getvalue()


TEXTS, LABELS = (list(column) for column in zip(*ROWS, strict=True))
FLOATS = [(text, float(label == "x")) for text, label in ROWS]
NULLS = [(text, label if n % 10 else "") for n, (text, label) in enumerate(ROWS)]
BROKEN = lines(OBJECTS[:56]) + '{"text": "words, "label": "x"}\n' + lines(OBJECTS[56:])
LONG = [{"text": "long line " * 120_000, "label": "x"}, *OBJECTS]
PARTS = [{"chat": [{"role": "user", "content": [str(n)]}, {"role": "assistant", "content": "b"}]} for n in range(30)]
FEW = [{"question": f"{n}?", "answer": "a"} for n in range(3)]
SOME = [*chats("user", "assistant"), *chats("user"), {"chat": None}]
SURROGATE = '{"text": "\\ud800", "label": "x"}'

# fmt: off
REFUSED: list[tuple[str, str | bytes | None, str]] = [
    ("missing.csv",    None,                                        "missing.csv: no such file"),
    ("empty.csv",      "",                                          "the file is empty"),
    ("blank.csv",      "\n \n",                                     "the file is empty"),
    ("header.csv",     "text,label\n",                              "the file holds no rows"),
    ("empty.json",     "[]",                                        "the file holds no rows"),
    ("no rows.parquet", parquet(text=pa.array([], pa.string())),    "the file holds no rows"),
    ("one class.csv",  table([(text, "x") for text in TEXTS]),      "every row has the same 'label'"),
    ("equal.csv",      table([("the same", "xy"[n % 2]) for n in range(60)]), "fewer than 5 different texts"),
    ("two rows.csv",   table(ROWS[:2]),                             "x (1), y (1).\nAdd rows of them, remove them"),
    ("no labels.csv",  table([(text, "") for text in TEXTS]),       "which column is the label? Name it"),
    ("no texts.csv",   table([("", label) for label in LABELS]),    "which column is the text? Name it"),
    ("own label.csv",  table([(text, text) for text in TEXTS]),     "which column is the label? Name it"),
    ("three.csv",      table() + "a,b,c\n",                         "line 62: fields found: 3, expected: 2"),
    ("same name.csv",  table(header="text,text"),                   "several columns have the same name"),
    ("nul.csv",        table() + "a\0b,x\n",                        "there is a NUL byte in line 62"),
    ("one text.txt",   "Once upon a time. " * 50,                   "plain text without columns"),
    ("page.csv",       "<!DOCTYPE html>\n<html>Not found</html>",   "a web page. Fetch the file itself."),
    ("object.json",    json.dumps({"data": OBJECTS}),               "one JSON object (with 'data') where a list"),
    ("lists.json",     json.dumps([list(row) for row in ROWS]),     "entry 1: a list where an object is expected"),
    ("texts.json",     json.dumps(TEXTS),                           "entry 1: a single value where an object"),
    ("cut off.json",   json.dumps(OBJECTS)[:-30],                   "not valid JSON"),
    ("broken.jsonl",   BROKEN,                                      "line 57, column 19: not valid JSON"),
    ("deep.json",      "[" * 100_000,                               "nested too deeply"),
    ("half.jsonl",     lines() + SURROGATE,                        "line 61, column 'text': a character that is not"),
    ("no answer.jsonl", lines(chats("user")),                       "no conversation has a question and an answer"),
    ("roles.jsonl",    lines(chats("owner", "dog")),                "The roles 'user' and 'assistant' are read"),
    ("parts.jsonl",    lines(PARTS),                                "line 1, column 'chat': a turn that is not"),
    ("few.jsonl",      lines(FEW),                                  "3 different questions are too few"),
    ("lists.parquet",  parquet(text=[[text] for text in TEXTS], label=LABELS), "text   lists or objects, e.g. ["),
    ("bytes.parquet",  parquet(text=[t.encode() for t in TEXTS], label=LABELS), "which column is the text? Name it"),
    ("cut.parquet",    parquet(text=TEXTS, label=LABELS)[:-50],     "cut.parquet: cannot be read as Parquet"),
    ("sheet.csv",      zipped("xl/workbook.xml", "<x/>"),           "a workbook. Save the sheet as CSV"),
    ("archive.csv",    zipped("a.csv", table()),                    "or unpack the archive"),
    ("old.csv",        b"\xd0\xcf\x11\xe0" + bytes(99),             "an old Excel workbook. Save the sheet as CSV"),
    ("gz.csv",         gzip.compress(table().encode()),             "compressed. Unpack it"),
    ("bz2.csv",        bz2.compress(table().encode()),              "compressed. Unpack it"),
    ("xz.csv",         lzma.compress(table().encode()),             "compressed. Unpack it"),
    ("picture.csv",    b"\x89PNG\r\n\x1a\n" + bytes(range(99)),     "not a file of text"),
]
USED: list[tuple[str, str | bytes, str]] = [
    ("floats.csv",     table(FLOATS),                               "2 classes: 1.0 (30), 0.0 (30)"),
    ("floats.parquet", parquet(text=TEXTS, label=[f for _, f in FLOATS]), "2 classes: 1.0 (30), 0.0 (30)"),
    ("yes.parquet",    parquet(text=TEXTS, label=[f > 0 for _, f in FLOATS]), "2 classes: true (30), false (30)"),
    ("nulls.csv",      table(NULLS),                                "label: 6 rows have nothing there"),
    ("bom.csv",        codecs.BOM_UTF8 + table().encode(),          "encoding utf-8"),
    ("bom.json",       codecs.BOM_UTF8 + json.dumps(OBJECTS).encode(), "one list of objects (JSON)"),
    ("utf16.csv",      table().encode("utf-16"),                    "encoding utf-16"),
    ("no mark.csv",    table().encode("utf-16-le"),                 "encoding utf-16-le"),
    ("utf32.csv",      table().encode("utf-32"),                    "encoding utf-32"),
    ("utf16.jsonl",    lines().encode("utf-16"),                    "an object a line (JSON Lines)"),
    ("tabs.csv",       table(mark="\t"),                            "TSV, a header line"),
    ("commas.tsv",     table(),                                     "CSV, a header line"),
    ("no end",         table().removesuffix("\n"),                  "CSV, a header line"),
    ("old mac.csv",    table().replace("\n", "\r"),                 "60 rows"),
    ("no header.csv",  table().partition("\n")[2],                  "no header line"),
    ("list.jsonl",     json.dumps(OBJECTS, indent=1),               "one list of objects (JSON)"),
    ("lines.json",     lines(),                                     "an object a line (JSON Lines)"),
    ("lines.csv",      lines(),                                     "an object a line (JSON Lines)"),
    ("table.parquet",  table(),                                     "CSV, a header line"),
    ("long.jsonl",     lines(LONG),                                 "61 rows"),
    ("share.jsonl",    lines(chats("human", "gpt", names=("from", "value"))), "conversations"),
    ("some.jsonl",     lines(SOME),                                 "chat: 1 rows have nothing"),
]
# fmt: on


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, content: str | bytes | None) -> None:
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(("name", "content", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_file_that_cannot_be_used_is_told_in_plain_lines(
    folder: Path, name: str, content: str | bytes | None, words: str
) -> None:
    write(name, content)
    result = CliRunner().invoke(app, ["init", name])
    # What `gptsmith` itself makes of such an error, tests/unit/test_cli.py says.
    assert isinstance(result.exception, UserError), result.exception
    message = str(result.exception)
    assert message.startswith(name)
    assert words in message
    assert [path.name for path in folder.iterdir()] == ([] if content is None else [name])


@pytest.mark.parametrize(("name", "content", "words"), USED, ids=[case[0] for case in USED])
def test_a_strange_file_that_can_be_used_is(folder: Path, name: str, content: str | bytes, words: str) -> None:
    write(name, content)
    result = CliRunner().invoke(app, ["init", name, "--output", "my.yaml"])
    assert result.exception is None, result.exception
    assert words in result.stdout
    [dataset] = load_config(yaml.safe_load((folder / "my.yaml").read_text())).datasets.values()
    prepare(folder / name, dataset, 1, folder / "prepared")
    assert all(split["rows"] for split in read_report(folder / "prepared")["splits"].values())


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "data.csv").mkdir()
    error = CliRunner().invoke(app, ["init", "data.csv"]).exception
    assert str(error) == "data.csv: a folder where a file is expected"
