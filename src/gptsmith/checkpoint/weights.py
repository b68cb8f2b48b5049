"""Reading and writing model.safetensors. Nothing here can run code that a file carries."""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gptsmith.checkpoint.names import CONSTANTS, LANGUAGE_MODEL_HEAD, PREFIXES, Weight
from gptsmith.errors import UserError
from gptsmith.files import atomic_path

READABLE_TYPES = ("F32", "F16", "BF16")
PROBLEMS_SHOWN = 3
NOT_WRITTEN = "could not be written"


def write_weights(path: Path, state: dict[str, Tensor], weights: Iterable[Weight]) -> None:
    """Write `state` (names as in our modules) in transformers' layout, as float32.

    Raises ValueError when `state` is not exactly `weights` (adapters have to be merged first).
    """
    weights = list(weights)
    if different := state.keys() ^ {weight.name for weight in weights}:
        raise ValueError(f"not the weights of a plain model: {sorted(different)[:PROBLEMS_SHOWN]}")
    tensors: dict[str, Tensor] = {}
    for weight in weights:
        tensor = state[weight.name].detach().to("cpu", torch.float32)
        tensor = tensor.t() if weight.transposed else tensor
        rows = tensor.split([shape[0] for _, shape in weight.parts])
        tensors |= {place: part.contiguous() for (place, _), part in zip(weight.parts, rows, strict=True)}
    with atomic_path(path) as temporary, safetensors_errors(path, NOT_WRITTEN):
        save_file(tensors, temporary, metadata={"format": "pt"})


def read_weights(path: Path, weights: Iterable[Weight]) -> dict[str, Tensor]:
    """`weights` by our names, float32, from transformers' or the published layout.

    Names, shapes and types are checked in the file's header before any memory is taken. Constants (masks, wavelengths)
    and a language-model head that is not among `weights` may be in the file besides them, and nothing else.

    Float32 tensors of one part are views of the mapped file, [out, in] of linear weights as transposed ones where they
    are stored as [in, out]: a page is read when it is first used, and copied by the system when it is first written to,
    so training in place leaves the file as it is. The file may be deleted or replaced meanwhile, but not be overwritten
    in place.

    Raises UserError that names the first tensors that are missing, extra or misshapen.
    """
    with _open(path) as file:
        header = _header(file)
        # One more than the file can have is enough to see that something is missing, whatever a config asks for.
        weights = list(islice(weights, len(header) + 1))
        shapes = {place: shape for weight in weights for place, shape in weight.parts}
        left_out = _prefix_left_out(header, shapes)
        shapes = {place.removeprefix(left_out): shape for place, shape in shapes.items()}
        if problems := list(_problems(header, shapes)):
            more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
            raise UserError(f"{path} does not hold the weights expected: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}")
        tensors = {}
        for weight in weights:
            parts = [file.get_tensor(place.removeprefix(left_out)).to(torch.float32) for place, _ in weight.parts]
            tensors[weight] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return {weight.name: tensor.t() if weight.transposed else tensor for weight, tensor in tensors.items()}


def _prefix_left_out(header: Iterable[str], places: Iterable[str]) -> str:
    """The prefix of the trunk's names that `places` have and the names in the header do not."""
    found = {prefix for prefix in PREFIXES.values() if prefix and any(name.startswith(prefix) for name in places)}
    return next((prefix for prefix in found if not any(name.startswith(prefix) for name in header)), "")


def check_tied_head(path: Path, token_embedding: Tensor) -> None:
    """A file may repeat a tied head under its own name. Raises UserError when that is another tensor."""
    with _open(path) as file:
        repeated = LANGUAGE_MODEL_HEAD in file.keys()  # noqa: SIM118 (not a mapping)
        differs = repeated and not torch.equal(file.get_tensor(LANGUAGE_MODEL_HEAD).to(torch.float32), token_embedding)
    if differs:
        raise UserError(
            f"{path}: {LANGUAGE_MODEL_HEAD} differs from the token embedding, but the configuration says that they are "
            "tied (tie_embeddings, tie_word_embeddings); set it to false"
        )


def _problems(header: dict[str, tuple[str, tuple[int, ...]]], shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for place, expected in shapes.items():
        if place not in header:
            yield f"{place} is missing"
            continue
        dtype, shape = header[place]
        if shape != expected:
            yield f"{place}: expected shape {list(expected)}, found {list(shape)}"
        if dtype not in READABLE_TYPES:
            yield f"{place}: expected one of the types {', '.join(READABLE_TYPES)}, found {dtype}"
    for name in sorted(header.keys() - shapes.keys() - {LANGUAGE_MODEL_HEAD}):
        if not CONSTANTS.fullmatch(name):
            yield f"{name} is not part of the model"


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """The library's handle on a file, which it maps into memory."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with safetensors_errors(path, "not a whole safetensors file"), safe_open(path, framework="pt") as file:
        _check_names(path)
        yield file


def _check_names(path: Path) -> None:
    """Raise UserError where a name is in the header twice: readers differ in which of the two they take.

    The library has read the header before and bounds its length.
    """
    with path.open("rb") as file:
        pairs = json.loads(file.read(int.from_bytes(file.read(8), "little")), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UserError(f"{path}: {twice} is in the header {names.count(twice)} times")


def _header(file: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor in the file."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


@contextlib.contextmanager
def safetensors_errors(path: Path, meaning: str) -> Iterator[None]:
    """Turn the library's error into the OSError that it was, or a UserError that says what it means for `path`."""
    try:
        yield
    except SafetensorError as error:
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is not None:
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise UserError(f"{path}: {meaning} ({error})") from error
