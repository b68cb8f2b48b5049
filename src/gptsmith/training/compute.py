"""Where a model runs, in which precision, and on how many threads."""

import contextlib
import os
from dataclasses import dataclass

import torch
from torch.distributed import is_torchelastic_launched

from gptsmith.config.parallel import Compile, Sharding
from gptsmith.config.training import Precision
from gptsmith.errors import UserError
from gptsmith.scheduling.gpus import claim_gpus


@dataclass(frozen=True)
class Compute:
    """A device and what it computes in."""

    device: torch.device
    precision: Precision
    """`fp32` or `bf16`, never `auto`. `fp32` is 32 bits on GPUs as well, not the 19 of TF32."""
    sharding: Sharding = "none"
    compile: Compile = "never"

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context in which matrix products are computed in `precision`; the weights stay float32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def choose_compute(
    device: str, precision: Precision, threads: int, sharding: Sharding = "none", compile_blocks: Compile = "never"
) -> Compute:
    """Settle `auto`, and let torch use `threads` CPU threads from here on, or this process's share of them.

    Device `auto` is a CUDA GPU, then Apple's (mps), then the CPU; precision `auto` is bf16 on CUDA GPUs
    that compute in it. Of several processes that torchrun started, each gets a GPU of its own; of several jobs on
    one machine likewise, as long as there are enough.
    Raises UserError when a device asked for by name is not there.
    """
    process, n_processes = (int(os.environ.get(name, default)) for name, default in LOCAL_PROCESS.items())
    torch.set_num_threads(max(1, threads // n_processes))
    if device in ("auto", "cuda") and not is_torchelastic_launched():
        claim_gpus(1)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise UserError(f"execution.device: {device} is not available on this machine; use auto or cpu")
    if precision == "auto":
        precision = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if device == "cuda" and n_processes > 1:
        if n_processes > torch.cuda.device_count():
            raise UserError(
                f"execution.processes: {n_processes} processes, but this machine has {torch.cuda.device_count()} GPUs"
            )
        device = f"cuda:{process}"
    return Compute(torch.device(device), precision, sharding, compile_blocks)


# Variables that torchrun sets for each process, and what they are without it.
LOCAL_PROCESS = {"LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
