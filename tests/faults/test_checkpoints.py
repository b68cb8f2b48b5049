"""Checkpoints from outside: only safetensors, and nothing is believed or allocated before it is checked."""

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from gptsmith.checkpoint.configuration import read_architecture
from gptsmith.checkpoint.files import load_language_model, save_language_model
from gptsmith.checkpoint.folder import weights_file
from gptsmith.checkpoint.names import Weight
from gptsmith.checkpoint.weights import read_weights
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.model.initialization import new_language_model

ONE = [Weight("w", (("w", (2,)),))]


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def safetensors(path: Path, header: bytes | dict[str, Any], body: bytes = bytes(8), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def test_a_well_formed_file_is_read(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "file", {"w": entry()}, struct.pack("<2f", 1, 2))
    assert read_weights(file, ONE)["w"].tolist() == [1, 2]


TWICE = b'{"w":%s,"w":%s}' % (json.dumps(entry()).encode(), json.dumps(entry(shape=(1, 2))).encode())


@pytest.mark.parametrize(
    ("header", "body", "length", "words"),
    [
        ({"w": entry(shape=(2**40, 2**10), offsets=(0, 2**52))}, b"", None, "not fully covered"),
        ({"w": entry(shape=(2**63, 2**63))}, bytes(8), None, "overflow"),
        ({"w": entry(), "v": entry(offsets=(4, 12))}, bytes(12), None, "invalid offset"),
        ({"w": entry(offsets=(8, 16))}, bytes(16), None, "invalid offset"),
        ({"w": entry(shape=(-2,))}, bytes(8), None, "integer `-2`"),
        ({"w": entry()}, bytes(100), None, "not fully covered"),
        ({"w": entry(dtype="I64", offsets=(0, 16))}, bytes(16), None, "expected one of the types F32, F16, BF16"),
        ({"w": entry(dtype="X")}, bytes(8), None, "unknown variant"),
        ({"v": entry()}, bytes(8), None, "w is missing"),
        ({"w": entry(shape=(1, 2))}, bytes(8), None, "expected shape [2], found [1, 2]"),
        (TWICE, bytes(8), None, "w is in the header 2 times"),
        (b'{"w":' + b"[" * 100_000, b"", None, "recursion limit"),
        (b"{}", b"", 2**62, "header too large"),
        (b"{}", b"", 200_000_000, "header too large"),
        (b"{}", b"", 99_000_000, "not a whole"),
        (b"\xff\xfe", b"", None, "not a whole"),
        (b"[]", b"", None, "not a whole"),
        (b"", b"", None, "not a whole"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(
    tmp_path: Path, header: Any, body: bytes, length: int | None, words: str
) -> None:
    file = safetensors(tmp_path / "model.safetensors", header, body, length)
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read_weights(file, ONE)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{file}")
    assert words in str(caught.value)


@pytest.mark.parametrize("key", ["vocab_size", "context_length", "d_model", "n_layers"])
def test_a_config_that_asks_for_petabytes_is_compared_with_the_file_first(tmp_path: Path, key: str) -> None:
    architecture = Architecture(vocab_size=8, context_length=8, d_model=8, n_layers=1, n_heads=2)
    save_language_model(new_language_model(architecture, torch.Generator()), tmp_path, 7)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architecture"][key] = 2**40
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not hold the weights expected"):
        load_language_model(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model_type": "gpt2"}', '{"model_type":' + "[" * 100_000, "\0", '{"a": NaN']
)
def test_a_config_that_is_none_is_a_plain_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json"):
        read_architecture(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "gpt2.CKPT", "model.pth"])
def test_a_pickle_is_refused_with_the_reason_and_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    with pytest.raises(UserError, match=f"{name} is a pickle, .*any code.*save_pretrained"):
        weights_file(tmp_path)


def test_a_gguf_file_in_a_folder_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"model.gguf is read by `gguf: \[\{path: .*model.gguf\}\]` instead of `path`"):
        weights_file(tmp_path)


@pytest.mark.parametrize("name", ["model.ggml", "flax_model.msgpack", "tf_model.h5"])
def test_another_form_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(UserError, match=f"{name} is in a form that is not read; .*save_pretrained"):
        weights_file(tmp_path)
