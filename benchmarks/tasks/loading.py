"""Loading 124M and computing the first logits of a short prompt: load_language_model, and from_pretrained of
transformers. Each time in a new process (benchmarks.first_logits); the file is in the page cache."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.agreement import DisagreementError
from benchmarks.machine import measure
from benchmarks.row import Row
from benchmarks.settings import Settings
from gptsmith.checkpoint.files import save_language_model
from gptsmith.config.architecture import GPT2_SIZES, Architecture
from gptsmith.model.accounting import weight_bytes
from gptsmith.model.initialization import new_language_model

TOLERANCE = 1e-3


def run(settings: Settings, architecture: Architecture = GPT2_SIZES["gpt2-small"]) -> list[Row]:
    transformers, published = settings.folder / "transformers", settings.folder / "published"
    model = new_language_model(architecture, torch.Generator().manual_seed(1))
    for folder in (transformers, published):
        save_language_model(model, folder, end_of_text=architecture.vocab_size - 1)
    _publish(published / "model.safetensors", architecture)
    floor = weight_bytes(architecture) / measure("cpu").bandwidth
    return [_row(folder, settings, floor) for folder in (transformers, published)]


def _publish(file: Path, architecture: Architecture) -> None:
    """Give weights the layout of the published ones: without a prefix, and with the causal masks."""
    tensors = {name.removeprefix("transformer."): tensor.clone() for name, tensor in load_file(file).items()}
    mask = torch.ones(architecture.context_length, architecture.context_length).tril()
    masks = {f"h.{n}.attn.bias": mask[None, None].clone() for n in range(architecture.n_layers)}
    save_file(tensors | masks, file, metadata={"format": "pt"})


def _row(folder: Path, settings: Settings, floor: float) -> Row:
    ours, theirs = list[dict[str, Any]](), list[dict[str, Any]]()
    for _ in range(1 + (2 if settings.quick else 15)):
        ours.append(_first_logits("ours", folder, settings))
        theirs.append(_first_logits("theirs", folder, settings))
    our_logits, their_logits = (torch.tensor(side[0]["logits"]) for side in (ours, theirs))
    if not torch.allclose(our_logits, their_logits, rtol=0, atol=TOLERANCE):
        raise DisagreementError(f"loading, {folder.name} layout: the logits of transformers are not ours")

    def typical(side: list[dict[str, Any]], what: str) -> float:
        return median(result[what] for result in side[1:])

    size = (folder / "model.safetensors").stat().st_size
    return Row(
        f"load 124M ({folder.name} layout), first logits",
        typical(ours, "seconds"),
        "transformers from_pretrained",
        typical(theirs, "seconds"),
        floor,
        goal=3.0,
        extrapolated=False,
        notes=f"peak memory above torch: {typical(ours, 'memory') / size:.2f} times the file (goal: 1.05), theirs "
        f"{typical(theirs, 'memory') / size:.2f}; loading alone: {typical(ours, 'load') * 1000:.0f} ms, theirs "
        f"{typical(theirs, 'load') * 1000:.0f} ms; floor: the weights read once from memory",
    )


def _first_logits(side: str, folder: Path, settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.first_logits", side, str(folder), str(settings.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
