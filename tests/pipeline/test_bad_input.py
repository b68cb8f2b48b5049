"""What a user can get wrong ends in one or two plain lines that say what, where and what to do.

First each stage's own script with input that it cannot use, then the same seen from Snakemake, which
has much to say about a failed job: there the cause has to be the last thing on the screen.
"""

import hashlib
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Project

ROOT = Path(__file__).parents[2]
CSV = {"task": "classification", "sources": [{"path": "raw"}], "format": {"type": "csv"}}
LABELS = CSV | {"labels": ["ham", "spam"]}
JSONL = {"task": "instruction", "sources": [{"path": "raw"}], "format": {"type": "jsonl"}}


def script(name: str, folder: Path, /, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one stage's script in `folder`; mappings and lists are passed as JSON."""
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / f"{name}.py")]
    for option, value in options.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        command += [f"--{option.replace('_', '-')}", text]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def plain_error(output: str) -> str:
    """The error that `output` ends with: one or two lines, and no traceback anywhere."""
    assert "Traceback" not in output
    assert "error: " in output, output
    message = output[output.rindex("\nerror: ") + 1 if "\nerror: " in output else output.index("error: ") :]
    assert len(message.splitlines()) <= 2, message
    return message.removeprefix("error: ").strip()


BROKEN_OFF = b'{"instruction": "Say a.", "output": "a"}\n{"instruction": "Sa'
OTHER_KEYS = b'{"question": "Say a.", "output": "a"}\n'

# fmt: off
RAW_DATA = [
    # what                    settings file                                     words
    ("missing file",          CSV,     None,                                    "raw: no such file"),
    ("empty file",            CSV,     b"",                                     "raw: the file is empty"),
    ("header alone",          CSV,     b"label,text\n",                         "raw: the file holds no rows"),
    ("missing column",        CSV,     b"lable,text\nham,hi\n",                 "raw, line 1: no column 'label'"),
    ("... and the nearest",   CSV,     b"lable,text\nham,hi\n",                 "Did you mean 'lable'?"),
    ("row with no text",      CSV,     b"label,text\nham,hi\nspam, \n",         "line 3: nothing in column 'text'"),
    ("row with a field more", CSV,     b"label,text\nham,hi, you\n",            "line 2: fields found: 3"),
    ("unknown label",         LABELS,  b"label,text\nham,hi\nspan,buy\n",       "line 3, column 'label': unknown"),
    ("... and known ones",    LABELS,  b"label,text\nham,hi\nspan,buy\n",       "expected one of 'ham', 'spam'"),
    ("label of no row",       LABELS,  b"label,text\nham,hi\nham,yo\n",         "no row has the label 'spam'"),
    ("one class only",        CSV,     b"label,text\nham,hi\nham,yo\n",         "every row has the label 'ham'"),
    ("too few of a class",    CSV,     b"label,text\nham,hi\nham,yo\nspam,a\n",  "label 'ham' has too few rows (2)"),
    ("invalid UTF-8",         CSV,     b"label,text\nham,gr\xfc\xdfe\n",        "line 2, byte 17: not valid utf-8"),
    ("not text",              CSV,     b"PK\x03\x04\x00\x00label,text",         "raw, line 1: a NUL character"),
    ("JSON that breaks off",  JSONL,   BROKEN_OFF,                              "line 2, column 17: not valid JSON"),
    ("JSON with other keys",  JSONL,   OTHER_KEYS,                              "raw: no column 'instruction', only"),
]
# fmt: on


@pytest.mark.parametrize(
    ("settings", "content", "words"), [case[1:] for case in RAW_DATA], ids=[case[0] for case in RAW_DATA]
)
def test_raw_data_that_cannot_be_used(tmp_path: Path, settings: Any, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "raw").write_bytes(content)
    result = script("prepare", tmp_path, settings=settings, seed=1, raw="raw", output="prepared")
    assert result.returncode == 1
    assert words in plain_error(result.stderr)
    assert not list(tmp_path.glob("prepared/*"))


def test_a_wrong_checksum_is_shown_beside_the_expected_one(tmp_path: Path) -> None:
    content = b"label,text\n"
    (tmp_path / "raw").write_bytes(content)
    source = {"path": "raw", "sha256": "0" * 64}
    result = script("extract", tmp_path, settings=[source], archive="raw", output="data/raw.csv")
    found = hashlib.sha256(content).hexdigest()
    assert plain_error(result.stderr) == f"raw: checksum differs, sha256 expected {'0' * 64}, found {found}"
    assert not list(tmp_path.glob("data/*"))


def test_without_a_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/messages.csv"
    # The server is closed again: nobody listens there.
    result = script("download", tmp_path, settings=[{"url": url, "sha256": "0" * 64}], output="sms/archive")
    assert result.returncode == 1
    assert plain_error(result.stderr) == f"sms: {url}: Connection refused"
    assert not list(tmp_path.glob("sms/*"))


# Checkpoints


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def a_renamed_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weight": [0.0] * 100}))


def half_a_file(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def another_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def another_shape(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(
        config.read_text().replace('"d_model": 16', '"d_model": 32').replace('"n_embd": 16', '"n_embd": 32')
    )


# fmt: off
CHECKPOINTS = [
    # made of a good one  words
    (nothing,             "mine/config.json: no such file; a checkpoint is a folder with model.safetensors and"),
    (a_pickle,            "mine: pytorch_model.bin is a pickle, and reading a pickle can run any code it carries"),
    (a_renamed_pickle,    "mine/model.safetensors: not a whole safetensors file"),
    (half_a_file,         "mine/model.safetensors: not a whole safetensors file"),
    (another_kind,        "mine/config.json: model_type is 'bert'; only 'gpt2' and 'llama' can be loaded"),
    (another_shape,       "wte.weight: expected shape [300, 32], found [300, 16]"),
]
# fmt: on


@pytest.mark.parametrize(("spoil", "words"), CHECKPOINTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_checkpoint_that_cannot_be_read(
    finished_project: "Project", tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    checkpoints = finished_project.folder / "checkpoints"
    spoil(Path(shutil.copytree(checkpoints / "base" / "tiny", tmp_path / "mine")))
    tokenizer = checkpoints / "tokenizers" / "tiny-bpe"
    result = script("import_checkpoint", tmp_path, folder="mine", tokenizer=tokenizer, output="base")
    assert result.returncode == 1
    assert words in plain_error(result.stderr)
    assert not list(tmp_path.glob("base/*"))


def test_a_prompt_longer_than_the_context(finished_project: "Project", tmp_path: Path) -> None:
    rows = [
        {"instruction": "Repeat it. " * (40 if n == 5 else 1), "input": f"{n}", "output": f"{n}"} for n in range(10)
    ]
    (tmp_path / "raw").write_text("\n".join(map(json.dumps, rows)))
    settings = JSONL | {"prompt": "compact", "split": {"train": 0.1, "validation": 0, "test": 0.9}}
    checkpoints = finished_project.folder / "checkpoints"
    tokenizer = checkpoints / "tokenizers" / "tiny-bpe"
    script("prepare", tmp_path, settings=settings, seed=1, raw="raw", output="prepared").check_returncode()
    options = {"tokenizer": tokenizer, "prepared": "prepared"}
    script("tokenize_dataset", tmp_path, settings=settings, **options, output="tokens").check_returncode()
    options |= {"checkpoint": checkpoints / "base" / "tiny", "tokens": "tokens", "output": "responses.jsonl"}
    result = script("generate", tmp_path, settings={"dataset": "questions", "model": "tiny"}, **options)
    assert result.returncode == 1
    assert "item 5: its prompt has" in plain_error(result.stderr)
    assert "context_length" in plain_error(result.stderr)
    assert not list(tmp_path.glob("responses.jsonl"))


# Under Snakemake


def screen(project: "Project", *arguments: str) -> str:
    """What a run that fails shows, in the order shown."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = os.environ | {"PYTHONPATH": str(project.folder / "src"), "NO_COLOR": "1"}
    result = subprocess.run(
        command,
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    return result.stdout


def changed(config: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """`config` with `value` at a dotted place."""
    key, _, rest = place.partition(".")
    return config | {key: changed(config[key], rest, value) if rest else value}


LOST, FOLDER = {"path": "lost"}, {"path": "data"}
BASE = {"tokenizer": "tiny-bpe"}

# fmt: off
CONFIGS = [
    # place                        value           words
    ("runs.spam.trainning",        {},             "runs.spam.trainning: unknown key; did you mean 'training'?"),
    ("runs.spam.training.epochs",  "many",         "runs.spam.training.epochs: input should be a valid number"),
    ("runs.spam.dataset",          "mesages",      "no dataset is called 'mesages'; did you mean 'messages'?"),
    ("runs.spam.model",            "tinny",        "runs.spam.model: no model is called 'tinny'; did you mean 'tiny'?"),
    ("runs.spam.max_length",       65,             "runs.spam.max_length: 65 tokens, but the model's context is 64"),
    ("datasets.messages.sources",  [LOST],         "datasets.messages.sources: no such file: lost (in /"),
    ("models.tiny",                BASE | LOST,    "models.tiny.path: no such folder: lost (in /"),
    ("models.tiny",                BASE | FOLDER,  "models.tiny.path: data/config.json: no such file; a checkpoint is"),
]
# fmt: on


@pytest.mark.parametrize(("place", "value", "words"), CONFIGS, ids=[f"{place}={value}" for place, value, _ in CONFIGS])
def test_a_config_that_cannot_be_used(copied_project: "Project", place: str, value: Any, words: str) -> None:
    copied_project.write_config(changed(copied_project.config(), place, value))
    shown = screen(copied_project)
    assert words in plain_error(shown)
    assert len(shown.splitlines()) <= 3


# fmt: off
NO_YAML = [
    # file                             words
    (None,                             "config.yaml: no such file"),
    (b"",                              "config.yaml: empty, or not a mapping"),
    (b"- name\n",                      "config.yaml: empty, or not a mapping"),
    (b"name: tiny\n  datasets: [\n",   "config.yaml, line 2, column 11: not valid YAML"),
    (b"name: tiny\nruns:\n\tspam:\n",  "config.yaml, line 3, column 1: not valid YAML"),
    (b"name: b\xfcro\n",               "config.yaml: not UTF-8 at byte 7"),
    (b"name: \x07\n",                  "config.yaml: not valid YAML"),
    (b"a: {b: 1}\nc:\n- d: 1\n  d: 2\n", "config.yaml, lines 3 and 4: the key 'd' is there twice"),
]
# fmt: on


@pytest.mark.parametrize(("content", "words"), NO_YAML)
def test_a_config_that_is_no_yaml(tmp_path: Path, content: bytes | None, words: str) -> None:
    """What `make run CONFIG=...` asks before it starts Snakemake."""
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    command = [sys.executable, "-m", "gptsmith.config.syntax", "config.yaml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert plain_error(result.stderr).startswith(words)


def test_a_named_config_with_a_key_that_is_there_twice(copied_project: "Project") -> None:
    config = (copied_project.folder / "config.yaml").read_text()
    (copied_project.folder / "mine.yaml").write_text(f"{config}seed: 1\nseed: 2\n")
    n = len(config.splitlines())
    shown = plain_error(screen(copied_project, "--configfile", "mine.yaml"))
    assert shown.startswith(f"mine.yaml, lines {n + 1} and {n + 2}: the key 'seed' is there twice")


def test_a_default_config_that_is_no_yaml(copied_project: "Project") -> None:
    (copied_project.folder / "config.yaml").write_text("name: tiny\n  datasets: [\n")
    assert plain_error(screen(copied_project)).startswith("config.yaml, line 2, column 11: not valid YAML")


def lose_a_column(project: "Project") -> None:
    file = project.folder / "messages.csv"
    file.write_text(file.read_text().replace("label,text", "label,message"))


def replace_the_file(project: "Project") -> None:
    """By another than the checksum is of."""
    source = {"path": "messages.csv", "sha256": "0" * 64}
    project.write_config(changed(project.config(), "datasets.messages.sources", [source]))


def learn_too_fast(project: "Project") -> None:
    project.write_config(changed(project.config(), "runs.spam.training.learning_rate", 1e30))


# fmt: off
FAILURES = [
    # what happens, and until which rule  words, and which files are lost and kept
    (lose_a_column, "prepare",            "messages.csv, line 1: no column 'text', only",
                                          "data/prepared/messages", "data/prepared/questions"),
    (replace_the_file, "extract",         "messages.csv: checksum differs, sha256 expected 00000000",
                                          "data/raw/messages", "data/prepared/messages"),
    (learn_too_fast, "finetune",          "spam, seed 1: the loss is no longer a finite number",
                                          "checkpoints/finetuned/tiny/spam", "checkpoints/base/tiny"),
]
# fmt: on


@pytest.mark.parametrize(
    ("change", "until", "words", "lost", "kept"), FAILURES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_failed_stage_says_why_at_the_end(
    copied_project: "Project", change: Callable[["Project"], None], until: str, words: str, lost: str, kept: str
) -> None:
    def files(folder: str) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (copied_project.folder / folder).rglob("*") if path.is_file()}

    before = files(kept)
    change(copied_project)
    shown = screen(copied_project, "--until", until)
    assert plain_error(shown).startswith(words)
    assert not files(lost)
    assert files(kept) == before
