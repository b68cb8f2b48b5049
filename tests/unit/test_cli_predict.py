"""`gptsmith predict`, as it is called."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gptsmith.checkpoint.files import load_classifier
from gptsmith.cli import app
from gptsmith.cli.terminal import printable_line
from gptsmith.data import texts as reading
from gptsmith.tokenizer.fast import load_tokenizer

TEXTS = ["win a prize now", "see you at six", "", "été, été", 'a "quoted" one; with, signs']


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: bytes = b"") -> int:
    """The exit status of `gptsmith predict`."""
    monkeypatch.setattr(sys, "argv", ["gptsmith", "predict", *arguments])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))  # type: ignore[arg-type]
    with pytest.raises(SystemExit) as left:
        app.main()
    assert isinstance(left.value.code, int)
    return left.value.code


Predicted = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_classifier: Path) -> Predicted:
    """What it says about texts, line by line."""

    def call(*arguments: str, stdin: bytes = b"") -> list[dict[str, Any]]:
        status = run(monkeypatch, str(tiny_classifier), *arguments, stdin=stdin)
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return [json.loads(line) for line in captured.out.splitlines()]

    return call


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_classifier: Path
) -> Callable[..., str]:
    def call(*arguments: str, stdin: bytes = b"", checkpoint: Path = tiny_classifier) -> str:
        assert run(monkeypatch, str(checkpoint), *arguments, stdin=stdin) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err

    return call


def assert_same(lines: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Up to rounding: the texts may have been in other batches."""
    for line, other in zip(lines, expected, strict=True):
        assert (line["text"], line["label"]) == (other["text"], other["label"])
        assert line["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)


def test_every_label_has_the_probability_that_the_model_gives_it(predicted: Predicted, tiny_classifier: Path) -> None:
    model, labels = load_classifier(tiny_classifier)
    tokenizer = load_tokenizer(tiny_classifier, "tiny")
    lines = predicted(*TEXTS)
    assert [line["text"] for line in lines] == TEXTS
    for text, line in zip(TEXTS, lines, strict=True):
        ids = tokenizer.encode(text)[:20] or [tokenizer.end_of_text]
        with torch.no_grad():
            expected = model(torch.tensor([ids]), torch.tensor([len(ids)])).double().softmax(dim=-1)[0].tolist()
        assert line["probabilities"] == pytest.approx(dict(zip(labels, expected, strict=True)), rel=1e-4, abs=1e-6)
        assert line["label"] == max(line["probabilities"], key=line["probabilities"].get)
    assert len({line["label"] for line in lines}) > 1


def write_csv(path: Path) -> None:
    path.write_text(
        "n;body\n" + "".join(f'{n};"{text.replace(chr(34), chr(34) * 2)}"\n' for n, text in enumerate(TEXTS))
    )


WRITERS: dict[str, Callable[[Path], Any]] = {
    "lines.txt": lambda path: path.write_bytes(("\ufeff" + "\r\n".join(TEXTS)).encode()),
    "table.csv": write_csv,
    "table.jsonl": lambda path: path.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS)),
    "table.json": lambda path: path.write_text(json.dumps([{"body": text} for text in TEXTS])),
    "table.PARQUET": lambda path: pq.write_table(pa.table({"body": TEXTS}), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_give_what_arguments_give(name: str, predicted: Predicted, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    options = ["--delimiter", ";"] if name.endswith("csv") else []
    assert_same(predicted("--file", str(tmp_path / name), "--text", "body", *options), predicted(*TEXTS))


def test_standard_input_in_another_encoding(predicted: Predicted) -> None:
    assert_same(predicted("--encoding", "cp1252", stdin="\n".join(TEXTS).encode("cp1252")), predicted(*TEXTS))
    assert_same(predicted("--encoding", "utf-16", stdin="\n".join(TEXTS).encode("utf-16")), predicted(*TEXTS))


def test_a_large_input_is_read_in_pieces(predicted: Predicted, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predicted(*TEXTS)
    sizes = []
    original = reading.texts_in_lines
    monkeypatch.setattr(reading, "BLOCK", 7)
    monkeypatch.setattr(
        reading, "texts_in_lines", lambda *a: (sizes.append(len(batch)) or batch for batch in original(*a))
    )
    lines = predicted(stdin=("\n".join(TEXTS) + "\n").encode())
    assert len(sizes) > 2
    assert_same(lines, whole)


def test_lines_are_answered_as_they_arrive(tiny_classifier: Path) -> None:
    code = f"import sys; sys.argv = ['gptsmith', 'predict', sys.argv[1]]; from {app.__name__} import main; main()"
    command = [sys.executable, "-c", code, str(tiny_classifier)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin
        assert process.stdout
        for text in ("one", "two"):
            process.stdin.write(text + "\n")
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_long_texts_are_cut_as_in_training_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_classifier: Path
) -> None:
    beginning = "zqzqzqzqzqzqzqzqzqzq"  # 20 tokens
    monkeypatch.setattr(reading, "BLOCK", 30)
    stdin = "\n".join([beginning, beginning + "!", "short", beginning * 2]).encode()
    assert run(monkeypatch, str(tiny_classifier), stdin=stdin) == 0
    captured = capsys.readouterr()
    first, second, short, last = (json.loads(line)["probabilities"] for line in captured.out.splitlines())
    assert second == pytest.approx(first, rel=1e-4)
    assert last == pytest.approx(first, rel=1e-4)
    assert short != pytest.approx(first, rel=1e-4)
    assert captured.err == "2 of 4 texts are longer than 20 tokens and were read only that far, as in training\n"


def test_a_terminal_shows_a_table_of_printable_characters(tiny_classifier: Path) -> None:
    code = f"import sys; sys.argv = ['gptsmith', 'predict', *sys.argv[1:]]; from {app.__name__} import main; main()"
    texts = ["win a prize", "red \x1b[31m[bold]", "long " * 50]
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 1024)
        shown.extend(data)
        return data

    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS="60", TERM="dumb")
        os.execv(sys.executable, [sys.executable, "-c", code, str(tiny_classifier), *texts])
    try:
        while read(descriptor):
            pass
    except OSError:  # the other side has gone
        pass
    assert os.waitpid(pid, 0)[1] == 0
    head, *rows = shown.decode().replace("\r", "").splitlines()
    assert head.split() == ["label", "probability", "text"]
    labels, probabilities, found = zip(*(row.split(maxsplit=2) for row in rows[:3]), strict=True)
    assert set(labels) <= {"ham", "spam", "été"}
    assert all(1 / 3 < float(probability) <= 1 for probability in probabilities)
    assert found[:2] == ("win a prize", "red  [31m[bold]")
    assert found[2].endswith("…")
    assert max(map(len, rows[:3])) <= 60


def test_a_threshold_decides_for_a_label(predicted: Predicted, refused: Callable[..., str]) -> None:
    lines = predicted(*TEXTS)
    ranked = sorted(line["probabilities"]["spam"] for line in lines)
    for least in (0.0, ranked[2], 1.0):
        for line in predicted("--threshold", f"spam={least}", *TEXTS):
            others = {label: p for label, p in line["probabilities"].items() if label != "spam"}
            is_spam = line["probabilities"]["spam"] >= least
            assert line["label"] == ("spam" if is_spam else max(others, key=others.__getitem__))
    wrong = "LABEL=P, with a number from 0 to 1 and a label of "
    for given in ("0.3", "eggs=0.3", "spam=2", "spam=nan", "spam="):
        assert refused("--threshold", given, "hello").startswith(f"error: --threshold {given}: {wrong}")


def test_a_language_model_is_refused_with_the_right_command(refused: Callable[..., str], tiny_assistant: Path) -> None:
    expected = f"error: {tiny_assistant}: a language model, which has no labels.\nTo talk to it: gptsmith chat "
    assert refused("hello", checkpoint=tiny_assistant).startswith(expected)


def test_inputs_that_cannot_be_read_are_refused_in_the_words_of_the_options(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    write_csv(path)
    assert refused() == "error: no texts: the input is empty\n"
    assert "give one of them" in refused("a text", "--file", str(path))
    assert "The line contains ';': set --delimiter to it." in refused("--file", str(path))
    remedy = "no column 'text', only 'n', 'body'.\nName the right one with --text."
    assert remedy in refused("--file", str(path), "--delimiter", ";")
    assert "--delimiter: one character" in refused("--file", str(path), "--delimiter", ";;")
    assert "after line 0: not valid utf-8" in refused(stdin=b"a\xff\nb")
    assert "--encoding: no text encoding is called 'nonsense'" in refused("--encoding", "nonsense", stdin=b"a")
    assert f"no such file: {tmp_path / 'none.txt'}" in refused("--file", str(tmp_path / "none.txt"))
    assert "do not know how to read .pdf" in refused("--file", str(tmp_path / "a.pdf"))


def test_a_checkpoint_without_its_tokenizer_is_refused(
    refused: Callable[..., str], tiny_classifier: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_classifier / name).read_bytes())
    assert "vocab.json: no such file" in refused("hello", checkpoint=tmp_path)


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable_line("a\x1b]0;title\x07b\u202ec\nd") == "a ]0;title b c d"


def test_a_text_is_cleaned_as_in_training(predicted: Predicted) -> None:
    plain, padded = predicted("win a\nprize", "  win a\r\nprize \n")
    assert plain["probabilities"] == padded["probabilities"]
