"""Arbitrary input at every door: what comes out is a result or a UserError, and nothing else.

The examples are the same in every run. `GPTSMITH_FUZZ=20000 pytest tests/faults/test_fuzz.py` draws so many of each
anew, by chance.
"""

import io
import json
import os
import random
import struct
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gptsmith.checkpoint.configuration import read_architecture, read_labels
from gptsmith.checkpoint.files import load_language_model, save_language_model
from gptsmith.checkpoint.gguf import load_gguf
from gptsmith.config.architecture import Architecture
from gptsmith.config.datasets import Format
from gptsmith.config.limits import Limits
from gptsmith.config.load import load_config
from gptsmith.config.syntax import check_syntax
from gptsmith.data.readers import read_rows
from gptsmith.errors import UserError
from gptsmith.model.initialization import new_language_model
from gptsmith.sources.archives import read_member
from gptsmith.tokenizer.gguf import read_gguf_tokenizer
from tests.gguf_files import tiny_llama, write_gguf

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("GPTSMITH_FUZZ", "150"))
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize="GPTSMITH_FUZZ" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(st.sampled_from(["text", "label", "other"]), json_values, max_size=3), max_size=4)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` with some bytes changed, and perhaps cut short or with a piece of it moved."""
    changes = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8)
    return st.builds(changed, st.just(content), changes, st.none() | st.integers(0, len(content)))


def changed(content: bytes, changes: list[tuple[int, int]], end: int | None) -> bytes:
    edited = bytearray(content)
    for place, value in changes:
        edited[place] = value
    return bytes(edited[:end])


def parquet() -> bytes:
    stream = io.BytesIO()
    columns = {
        "text": ["win a phone", "hello", None] * 5,
        "label": pa.array(["spam", "ham", "ham"] * 5).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), stream, compression="zstd")
    return stream.getvalue()


CSV = b'label,text\nham,"hello, you"\nspam,win a "free" phone\n'
WELL_FORMED: dict[str, bytes] = {
    "csv": CSV,
    "tsv": CSV.replace(b",", b"\t"),
    "json": b'[{"label": "ham", "text": "hello"}, {"label": "spam", "text": 1e5, "other": [null]}]',
    "jsonl": b'{"label": "ham", "text": "hello"}\n\n{"label": "spam", "text": "\\ud83d\\ude00"}\n',
    "text": "Once upon a time\n\nthere was – a “cat”.\n".encode(),
    "parquet": parquet(),
}
ENCODINGS = ["utf-8", "utf-16", "cp1252", "latin-1", "utf-7", "ascii", "shift_jis", "rot13", "hex", "idna"]


@pytest.mark.parametrize("kind", WELL_FORMED)
@fuzzed
@given(data=st.data())
def test_readers(kind: Literal["csv", "tsv", "json", "jsonl", "text", "parquet"], data: st.DataObject) -> None:
    contents = st.binary(max_size=200) | damaged(WELL_FORMED[kind])
    if kind in ("json", "jsonl"):
        contents |= rows.map(lambda value: json.dumps(value).encode()) | json_values.map(
            lambda v: json.dumps(v).encode()
        )
    elif kind != "parquet":
        contents |= st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
    options: dict[str, Any] = {"type": kind}
    if kind != "parquet":
        options["encoding"] = data.draw(st.sampled_from(ENCODINGS))
    if kind in ("csv", "tsv"):
        options["quoting"] = data.draw(st.sampled_from(["minimal", "none"]))
        options["delimiter"] = data.draw(st.none() | st.sampled_from('";|\n\r \0é') | st.characters())
        options["columns"] = data.draw(st.none() | st.just(["label", "text"]))
    columns = ["text"] if kind == "text" else ["label", "text"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        path.write_bytes(data.draw(contents))
        try:
            read = list(read_rows(path, TypeAdapter(Format).validate_python(options), columns))
        except UserError:
            pass
        else:
            assert sum(map(len, read)) > 0


CONFIG = (ROOT / "config.yaml").read_bytes()


@fuzzed
@given(st.binary(max_size=200) | damaged(CONFIG) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "replace")))
def test_config_files(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(content)
        try:
            check_syntax(path)
            load_config(yaml.safe_load(content))
        except UserError:
            pass


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path] + [place for key, child in children for place in places(child, (*path, key))]


CONFIG_PLACES = places(yaml.safe_load(CONFIG))


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(CONFIG_PLACES), json_values), min_size=1, max_size=3), st.booleans())
def test_values_in_a_config(changes: list[tuple[tuple[Any, ...], Any]], remove: bool) -> None:
    config = yaml.safe_load(CONFIG)
    for place, value in changes:
        replace(config, place, value, remove)
    with suppress(UserError):
        load_config(config)


def replace(config: Any, place: tuple[Any, ...], value: Any, remove: bool) -> None:
    for key in place[:-1]:
        try:
            config = config[key]
        except (KeyError, IndexError, TypeError):
            return
    if not place or not isinstance(config, dict | list):
        return
    try:
        if remove:
            del config[place[-1]]
        else:
            config[place[-1]] = value
    except (KeyError, IndexError, TypeError):
        pass


def archives() -> list[bytes]:
    made = []
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme", "hello")
        archive.writestr("folder/data.csv", CSV * 20)
    made.append(stream.getvalue())
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            info = tarfile.TarInfo("folder/data.csv")
            info.size, info.pax_headers = len(CSV * 20), {"comment": "ä"}
            tar.addfile(info, io.BytesIO(CSV * 20))
        made.append(stream.getvalue())
    return made


@fuzzed
@given(st.sampled_from(archives()).flatmap(damaged) | st.binary(max_size=100))
def test_archives(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        path.write_bytes(content)
        try:
            read = b"".join(read_member(path, "folder/data.csv", "the archive", Limits(unpacked_gb=0.01)))
        except UserError:
            pass
        else:
            assert len(read) <= 10_000_000
        assert list(Path(folder).iterdir()) == [path]


def checkpoint() -> tuple[bytes, bytes]:
    architecture = Architecture(vocab_size=8, context_length=4, d_model=4, n_layers=1, n_heads=2)
    with tempfile.TemporaryDirectory() as folder:
        save_language_model(new_language_model(architecture, torch.Generator().manual_seed(1)), Path(folder), 7)
        return (Path(folder) / "model.safetensors").read_bytes(), (Path(folder) / "config.json").read_bytes()


WEIGHTS, MODEL_CONFIG = checkpoint()
HEADER = WEIGHTS[: 8 + struct.unpack("<Q", WEIGHTS[:8])[0]]


@fuzzed
@given(damaged(HEADER), st.just(MODEL_CONFIG) | damaged(MODEL_CONFIG))
def test_checkpoints(header: bytes, config: bytes) -> None:
    load(header + WEIGHTS[len(HEADER) :], config)


MODEL_PLACES = places(json.loads(MODEL_CONFIG))


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(MODEL_PLACES), json_values), min_size=1, max_size=3), st.booleans())
def test_values_in_the_config_of_a_checkpoint(changes: list[tuple[tuple[Any, ...], Any]], remove: bool) -> None:
    config = json.loads(MODEL_CONFIG)
    if random.Random(len(changes)).random() < 0.5:
        del config["architecture"]
    for place, value in changes:
        replace(config, place, value, remove)
    load(WEIGHTS, json.dumps(config).encode())


def load(weights: bytes, config: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_bytes(config)
        for read in (read_architecture, read_labels, load_language_model):
            with suppress(UserError):
                read(folder)


def gguf_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(path, tiny_llama(num_hidden_layers=1), GGMLQuantizationType.Q8_0)
        return path.read_bytes()


GGUF = gguf_file()
# The weights come after it, and any bytes are numbers.
GGUF_HEADER = GGUF.index(b"blk.0.ffn_up.weight") + 200


@fuzzed
@given(damaged(GGUF[:GGUF_HEADER]))
def test_gguf_files(header: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(header + GGUF[GGUF_HEADER:])
        for read in (load_gguf, read_gguf_tokenizer):
            with suppress(UserError):
                read(path)
