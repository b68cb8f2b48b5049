"""Where a model runs, in which precision, and on how many threads."""

import contextlib
from dataclasses import dataclass

import torch

from gptsmith.config.training import Precision
from gptsmith.errors import UserError


@dataclass(frozen=True)
class Compute:
    """A device and what it computes in."""

    device: torch.device
    precision: Precision
    """`fp32` or `bf16`, never `auto`."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context in which matrix products are computed in `precision`; the weights stay float32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def choose_compute(device: str, precision: Precision, threads: int) -> Compute:
    """Settle `auto`, and let torch use `threads` CPU threads from here on.

    Device `auto` is a CUDA GPU, then Apple's (mps), then the CPU; precision `auto` is bf16 on CUDA GPUs
    that compute in it. Raises UserError when a device asked for by name is not there.
    """
    torch.set_num_threads(threads)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise UserError(f"execution.device: {device} is not available on this machine; use auto or cpu")
    if precision == "auto":
        precision = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return Compute(torch.device(device), precision)
