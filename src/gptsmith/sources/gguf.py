"""What a GGUF file says of itself: its keys and their values, and where its tensors lie.

GGUF is llama.cpp's format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): a header of keys, then tensors.
The `gguf` library reads it as well, but trusts it: a file of 53 bytes that speaks of 2^60 numbers takes all memory, and
the 100,000 strings of a tokenizer take seconds. So the header is read here; what quantized numbers mean is left to the
library (gptsmith.checkpoint.gguf).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from gptsmith.errors import UserError

VERSIONS = (2, 3)
# GGUF's numbers of its types.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MOST_DIMENSIONS = 4
ALIGNMENT = 32
LENGTH_BYTES = 8

T = TypeVar("T")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file."""

    shape: tuple[int, ...]
    """In the order of torch: the numbers of the last dimension stand side by side."""
    type_code: int
    """GGML's number of the type."""
    offset: int
    """Of its first byte in the file."""


@dataclass(frozen=True)
class Header:
    """All of a file but its weights."""

    path: Path
    n_bytes: int
    """Of the whole file."""
    values: dict[str, Any]
    """Numbers, strings, lists of strings, and arrays of numbers."""
    tensors: dict[str, StoredTensor]

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key. Raises UserError when it is missing and has no default, and when it is not a `kind`."""
        value = self.values.get(key, default)
        if value is None:
            raise UserError(f"{self.path}: {key} is missing")
        if type(value) is not kind:
            raise UserError(f"{self.path}: {key} should be {_words(kind)}, found {_words(type(value))}")
        return value


def read_header(path: Path) -> Header:
    """Read the keys and the places of the tensors; no count is believed that the file is too short for.

    Raises UserError for a file that is no GGUF, is of an unknown version, or is damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        content = _Content(path, file, left=n_bytes)
        if content.left < 4 or content.take(4) != b"GGUF":
            raise UserError(f"{path}: not a GGUF file")
        if (version := content.number("I")) not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise UserError(f"{path}: version {version} of GGUF; only {known} (little-endian) can be read")
        n_tensors, n_values = content.number("Q"), content.number("Q")
        # Each takes some bytes, so that a count too high meets the file's end.
        values: dict[str, Any] = {}
        for _ in range(n_values):
            key = content.text()
            content.refuse(key in values, f"{key!r} is there twice")
            values[key] = content.value(content.number("I"))
        tensors: dict[str, StoredTensor] = {}
        for _ in range(n_tensors):
            name = content.text()
            content.refuse(name in tensors, f"{name!r} is there twice")
            tensors[name] = content.tensor()
        end = file.tell()
    alignment = values.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise UserError(f"{path}: general.alignment is {alignment}, which is no power of two")
    start = -(-end // alignment) * alignment
    placed = {name: StoredTensor(t.shape, t.type_code, start + t.offset) for name, t in tensors.items()}
    return Header(path, n_bytes, values, placed)


@dataclass
class _Content:
    """What is still to be read."""

    path: Path
    file: BinaryIO
    left: int

    def refuse(self, damaged: bool, reason: str) -> None:
        if damaged:
            raise UserError(f"{self.path}: not a whole GGUF file ({reason}); fetch it again")

    def take(self, n_bytes: int) -> bytes:
        self.refuse(n_bytes > self.left, "it ends too early")
        self.left -= n_bytes
        return self.file.read(n_bytes)

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: not a whole GGUF file (a text is not UTF-8); fetch it again") from error

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array(self.number("I"), self.number("Q"))
        self.refuse(kind not in SCALARS, f"there is no type {kind} of values")
        return self.number(SCALARS[kind])

    def array(self, kind: int, count: int) -> list[str] | np.ndarray:
        if kind == STRING:
            self.refuse(count * LENGTH_BYTES > self.left, "it ends too early")
            return [self.text() for _ in range(count)]
        self.refuse(kind not in SCALARS, f"there is no type {kind} of values in arrays")
        dtype = np.dtype(SCALARS[kind]).newbyteorder("<")
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)

    def tensor(self) -> StoredTensor:
        """Its offset still counted from the first tensor."""
        n_dimensions = self.number("I")
        self.refuse(not 1 <= n_dimensions <= MOST_DIMENSIONS, f"a tensor of {n_dimensions} dimensions")
        shape = tuple(reversed([self.number("Q") for _ in range(n_dimensions)]))
        return StoredTensor(shape, type_code=self.number("I"), offset=self.number("Q"))


def _words(kind: type) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list of texts"}
    return names.get(kind, "a list of numbers")
