"""Several processes that train one model together, a GPU each, as `torchrun` starts them.

Every step's batch is dealt out to the processes. Each computes the gradient of its share; the shares are added up
between them, so that all take the same step. What one process would compute, several compute up to rounding
(dropout aside, which each draws for itself). Functions here do nothing special where there is one process.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gptsmith.errors import UserError
from gptsmith.model.block import TransformerBlock
from gptsmith.training.compute import Compute
from gptsmith.training.examples import IGNORED, Batch, Examples
from gptsmith.training.objectives import Loss

Net = TypeVar("Net", bound=nn.Module)


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Within it, the processes that torchrun started together know each other. `device` is this one's.

    Raises UserError where they cannot work together.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    if device.type == "mps":
        raise UserError("execution.processes: several processes need CUDA GPUs (or device: cpu); use 1")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    # Not in a `finally`: after an error the others may never answer.
    yield
    dist.destroy_process_group()


def rank() -> int:
    """Number of this process. The first, 0, is the one that shows and writes what all have computed."""
    return dist.get_rank() if dist.is_initialized() else 0


def n_processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def own_batches(examples: Examples, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
    """This process's of the batches whose example numbers are `parts`.

    All processes get the same number of batches, because each computation of one is a meeting of all. One that
    comes away empty-handed repeats a batch of which nothing counts.
    """
    own = parts[rank() :: n_processes()]
    yield from map(examples.batch, own)
    if len(own) < math.ceil(len(parts) / n_processes()):
        yield _without_targets(examples.batch(parts[0]))


def _without_targets(batch: Batch) -> Batch:
    return dataclasses.replace(batch, targets=torch.full_like(batch.targets, IGNORED), n_targets=0)


def totals(device: torch.device, *values: float) -> list[float]:
    """Each of the values added up over all processes."""
    if n_processes() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return summed.tolist()


def total_on_device(device: torch.device, value: float) -> Tensor | float:
    """`value` added up over all processes, without making this one wait for the sum."""
    if n_processes() == 1:
        return value
    summed = torch.full((), value, dtype=torch.float32, device=device)
    dist.all_reduce(summed)
    return summed


def common(own: set[int]) -> set[int]:
    """The numbers that all processes have."""
    if n_processes() == 1:
        return own
    all_sets: list[set[int]] = [set()] * n_processes()
    dist.all_gather_object(all_sets, own)
    return set.intersection(*all_sets)


class Objective(nn.Module):
    """A model together with what is minimised, as one module: calling it is where processes meet."""

    def __init__(self, model: Net, objective: Callable[[Net, Batch], Loss]) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        loss = self.objective(self.model, batch)
        return loss.total, loss.n_correct


def distribute(module: Objective, compute: Compute) -> nn.Module:
    """`module` on its device; with several processes, so that `backward` leaves the mean of their gradients in
    each.

    The model is replicated (Li et al., "PyTorch Distributed", 2020), or with `compute.sharding` full each process
    keeps a share of every weight and gathers a block's when its turn comes (Zhao et al., "PyTorch FSDP", 2023);
    then `unshard` follows the training.
    """
    if n_processes() == 1:
        return module.to(compute.device)
    if compute.sharding == "none":
        return DistributedDataParallel(module.to(compute.device), gradient_as_bucket_view=True)
    # Their import takes a second, and few trainings need them.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(compute.device.type, (n_processes(),))
    # FSDP takes no transposed views, which is what the matrices of a loaded model are (gptsmith.checkpoint.weights).
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    for block in filter(lambda part: isinstance(part, TransformerBlock), list(module.modules())):
        fully_shard(block, mesh=mesh)
        register_fsdp_forward_method(block, "forward_at")
    # Also what is outside the blocks: between computations every parameter is its share.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return module


def accumulating(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Within it, gradients stay with their process: the next `backward` outside takes them along.

    Sharded gradients are passed on each time, because a whole model's would not fit.
    """
    return module.no_sync() if isinstance(module, DistributedDataParallel) else contextlib.nullcontext()


def own_share(tensor: Tensor) -> Tensor:
    """`tensor`, or what this process has of it."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def like(parameter: Tensor, share: Tensor) -> Tensor:
    """A tensor on the device of `parameter`, dealt out as it is, of which this process has `share`."""
    share = share.to(parameter.device)
    if own_share(parameter) is parameter:
        return share
    from torch.distributed.tensor import DTensor  # most of a second, and few trainings need it

    assert isinstance(parameter, DTensor)
    return DTensor.from_local(
        share, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def whole(tensor: Tensor) -> Tensor:
    """`tensor`, or the whole of which it is this process's share."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


@torch.no_grad()
def unshard(model: nn.Module) -> None:
    """Give `model` whole parameters, on the CPU, in place of its shares of them."""
    for part in list(model.modules()):
        for name, parameter in list(part.named_parameters(recurse=False)):
            if (full := whole(parameter)) is not parameter:
                setattr(part, name, nn.Parameter(full.cpu(), parameter.requires_grad))
