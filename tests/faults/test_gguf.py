"""GGUF files that are damaged, lie, or hold something else: said in one line, and nothing is computed from them."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from gptsmith.checkpoint.gguf import load_gguf
from gptsmith.errors import UserError
from gptsmith.sources.gguf import read_header
from tests.gguf_files import tiny_llama, write_gguf

MODEL = tiny_llama()
ROWS = np.zeros((64, 64), np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(path, MODEL, GGMLQuantizationType.Q8_0)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"general.architecture": None}, "general.architecture is missing"),
        ({"general.architecture": "qwen2"}, "a model of the kind 'qwen2'; only 'llama' can be loaded"),
        ({"llama.block_count": None}, "llama.block_count is missing"),
        ({"llama.block_count": "two"}, "llama.block_count should be a whole number, found a text"),
        ({"llama.block_count": 3}, "blk.2.attn_norm.weight is missing"),
        ({"llama.block_count": 2**32 - 1}, "blk.2.attn_norm.weight is missing"),
        ({"llama.block_count": 1}, "blk.1.attn_k.weight' is not part of a plain Llama"),
        ({"llama.block_count": 0}, "n_layers: Input should be greater than 0"),
        ({"llama.attention.head_count": 5}, "must be a multiple of n_heads"),
        ({"llama.attention.head_count": 8}, "rope.dimension_count' is 16; only 8 can be loaded"),
        ({"llama.attention.head_count": [4, 4]}, "should be a whole number, found a list of numbers"),
        ({"llama.attention.head_count_kv": 1}, r"attn_k.weight: expected shape \[16, 64\], found \[32, 64\]"),
        ({"llama.feed_forward_length": 2**31}, r"ffn_gate.weight: expected shape \[2147483648, 64\]"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "norm_epsilon: Input should be"),
        ({"llama.rope.freq_base": 10000}, "llama.rope.freq_base should be a number, found a whole number"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type' is 'yarn'; only 'none' can be loaded"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count' is 8; only 16 can be loaded"),
        ({"llama.expert_count": 8}, "llama.expert_count' is 8; only 0 can be loaded"),
        ({"llama.logit_scale": 0.5}, "llama.logit_scale' is set, which a plain Llama does not have"),
    ],
)
def test_keys_that_are_missing_or_ask_for_another_model(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", MODEL, keys=keys)
    refused(tmp_path / "model.gguf", message)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"token_embd.weight": None}, "token_embd.weight is missing"),
        ({"output_norm.weight": None}, "output_norm.weight is missing"),
        ({"blk.1.attn_v.weight": ROWS}, r"blk.1.attn_v.weight: expected shape \[32, 64\], found \[64, 64\]"),
        ({"output_norm.weight": ROWS}, r"output_norm.weight: expected shape \[64\], found \[64, 64\]"),
        ({"blk.0.attn_q.bias": ROWS[0]}, "'blk.0.attn_q.bias' is not part of a plain Llama"),
        ({"rope_freqs.weight": ROWS[0]}, "'rope_freqs.weight' is not part of a plain Llama"),
    ],
)
def test_tensors_that_are_missing_extra_or_misshapen(
    tensors: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "model.gguf", MODEL, tensors=tensors)
    refused(tmp_path / "model.gguf", message)


def refused(path: Path, message: str, read: Callable[[Path], Any] = load_gguf) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.05, 0.1, 0.5, 0.99])
def test_a_file_that_ends_too_early(share: float, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "the file ends too early; fetch it again|it ends too early.*fetch it again|not a GGUF file")


@pytest.mark.parametrize(
    ("beginning", "message"),
    [
        (b"GGML" + bytes(60), "not a GGUF file"),
        (b"PK\3\4" + bytes(60), "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(60), r"version 1 of GGUF; only 2 and 3"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(60), r"version 50331648 of GGUF; only 2 and 3 \(little-endian\)"),
    ],
)
def test_another_kind_of_file(beginning: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(beginning)
    refused(tmp_path / "model.gguf", message)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


HUGE = 2**60
ARRAY, STRING, UINT32, BOOL = 9, 8, 4, 7


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<QQ", 0, HUGE),
        struct.pack("<QQ", HUGE, 0),
        struct.pack("<QQ", 0, 1) + struct.pack("<Q", HUGE) + b"a",
        struct.pack("<QQ", 0, 1) + text(b"a") + struct.pack("<IQ", STRING, HUGE) + b"b",
        *(
            struct.pack("<QQ", 0, 1) + text(b"a") + struct.pack("<IIQ", ARRAY, kind, HUGE) + bytes(8)
            for kind in (STRING, UINT32, BOOL)
        ),
    ],
    ids=["values", "tensors", "a name", "a text", "texts", "numbers", "bytes"],
)
def test_counts_are_not_believed(content: bytes, tmp_path: Path) -> None:
    """The `gguf` library takes all memory for most of these."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + struct.pack("<I", 3) + content)
    refused(tmp_path / "model.gguf", "it ends too early", read_header)


def test_a_tensor_without_dimensions(tmp_path: Path) -> None:
    tensor = text(b"token_embd.weight") + struct.pack("<IIQ", 0, 0, 0)
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor)
    refused(tmp_path / "model.gguf", "a tensor of 0 dimensions", read_header)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<QQ", 0, 2) + 2 * (text(b"a") + struct.pack("<II", UINT32, 1)), "'a' is there twice"),
        (struct.pack("<QQ", 0, 1) + text(b"a") + struct.pack("<I", 99), "there is no type 99 of values"),
        (struct.pack("<QQ", 0, 1) + text(b"a") + struct.pack("<IIQ", ARRAY, ARRAY, 1), "no type 9 of values in arrays"),
        (struct.pack("<QQ", 0, 1) + text(b"\xff") + struct.pack("<II", UINT32, 1), "a text is not UTF-8"),
        (struct.pack("<QQ", 1, 0) + text(b"a") + struct.pack("<I", 2**31), "a tensor of 2147483648 dimensions"),
        (
            struct.pack("<QQ", 0, 1) + text(b"general.alignment") + struct.pack("<II", UINT32, 0),
            "general.alignment is 0, which is no power of two",
        ),
    ],
)
def test_headers_that_make_no_sense(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + struct.pack("<I", 3) + content)
    refused(tmp_path / "model.gguf", message, read_header)


def test_tensors_that_share_their_place_or_lie_outside(whole: bytes, tmp_path: Path) -> None:
    """A small file could otherwise ask for as much memory as it likes."""
    path = tmp_path / "model.gguf"
    path.write_bytes(whole)
    names = sorted(read_header(path).tensors)
    sharing = bytearray(whole)
    for name in names:
        sharing[offset_field(whole, name)] = struct.pack("<Q", 0)
    path.write_bytes(sharing[: len(whole) // 2])
    refused(path, "some of them share their place")
    outside = bytearray(whole)
    outside[offset_field(whole, "blk.1.ffn_up.weight")] = struct.pack("<Q", 2**63)
    path.write_bytes(outside)
    refused(path, "blk.1.ffn_up.weight: the file ends too early")


def offset_field(content: bytes, tensor: str) -> slice:
    name = text(tensor.encode())
    start = content.index(name) + len(name)
    n_dimensions = struct.unpack_from("<I", content, start)[0]
    start += 4 + 8 * n_dimensions + 4
    return slice(start, start + 8)


def test_types_of_numbers_that_cannot_be_read(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for code, message in (
        (255, "blk.0.attn_v.weight: there is no type 255 of numbers"),
        (GGMLQuantizationType.Q4_K.value, "blk.0.attn_v.weight: rows of 64 are no whole blocks of Q4_K"),
        (GGMLQuantizationType.I8.value, "blk.0.attn_v.weight: weights of the type I8 cannot be read"),
    ):
        changed = bytearray(whole)
        offset = offset_field(whole, "blk.0.attn_v.weight")
        changed[offset.start - 4 : offset.start] = struct.pack("<I", code)
        path.write_bytes(changed)
        refused(path, message)


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.gguf", "no such file")
