"""Low-rank adapters by themselves: a small file beside the merged checkpoint."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from gptsmith.checkpoint.weights import NOT_WRITTEN, safetensors_errors
from gptsmith.files import atomic_path
from gptsmith.model.lora import LoRALinear, adapter_state_dict


def save_adapter(model: nn.Module, path: Path) -> None:
    """Write the A and B of every LoRALinear of `model` as safetensors, the scale of B A in the metadata."""
    scales = {str(module.scale) for module in model.modules() if isinstance(module, LoRALinear)}
    tensors = {name: tensor.to("cpu", torch.float32) for name, tensor in adapter_state_dict(model).items()}
    with atomic_path(path) as temporary, safetensors_errors(path, NOT_WRITTEN):
        save_file(tensors, temporary, metadata={"format": "pt", "scale": scales.pop()})
