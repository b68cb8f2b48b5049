"""Compiling a model's blocks where that makes a training shorter."""

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from typing import cast

from torch import nn

from gptsmith.model.block import TransformerBlock
from gptsmith.training.compute import Compute

# Compiling takes about a minute and saves about a quarter of the time. This much work takes a GPU of 200 TFLOP/s
# some eight minutes.
WORTH_COMPILING_FLOPS = 1e17


def compile_blocks(model: nn.Module, compute: Compute, n_tokens: int) -> None:
    """Compile the blocks of `model` in place, if `compute.compile` says so, for a training on `n_tokens` tokens.

    The blocks have the same code, so it is compiled once, and for all lengths. Its results are those of
    the plain blocks up to rounding.
    """
    if compute.compile == "always" or (compute.compile == "auto" and _pays_back(model, compute, n_tokens)):
        for block in filter(lambda part: isinstance(part, TransformerBlock), model.modules()):
            cast(TransformerBlock, block).compile(dynamic=True)


@contextlib.contextmanager
def several_shapes(n_models: int, compute: Compute) -> Iterator[None]:
    """Room for the compiled blocks of so many models of different shapes. torch compiles the same code for
    a few of them, and would run the blocks of the others as they are."""
    if compute.compile == "never":
        yield
        return
    from torch._dynamo import config  # takes a second

    limits = {key: n_models * getattr(config, key) for key in ("recompile_limit", "accumulated_recompile_limit")}
    with config.patch(limits):
        yield


def _pays_back(model: nn.Module, compute: Compute, n_tokens: int) -> bool:
    """Two operations a weight and token forwards, two for the gradient of its input and two for its own."""
    n_flops = sum((6 if weight.requires_grad else 4) * weight.numel() for weight in model.parameters()) * n_tokens
    has_compiler = importlib.util.find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
    return compute.device.type == "cuda" and has_compiler and n_flops > WORTH_COMPILING_FLOPS
