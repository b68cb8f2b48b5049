"""How each model started, in words."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gptsmith.config.architecture import Architecture
from gptsmith.config.load import Config
from gptsmith.config.models import Model, Pretrain
from gptsmith.config.sources import Source
from gptsmith.config.tokenizers import Tokenizer
from gptsmith.report.history import Figure, learning_curves
from gptsmith.report.results import read_history, read_object
from gptsmith.report.wording import number


@dataclass(frozen=True)
class ModelView:
    name: str
    facts: list[tuple[str, str]]
    figures: list[Figure]


def model_views(config: Config, verifications: dict[str, Path], pretraining: dict[str, Path]) -> list[ModelView]:
    """The models that a run starts from."""
    used = dict.fromkeys(run.model for run in config.runs.values())
    return [
        _view(f"model-{place}", name, config.models[name], config, verifications.get(name), pretraining.get(name))
        for place, name in enumerate(used)
    ]


def _view(
    chart: str, name: str, model: Model, config: Config, verification: Path | None, pretraining: Path | None
) -> ModelView:
    facts, figures = facts_of(model, config.tokenizers[model.tokenizer]), []
    if pretraining is not None:
        history = read_history(pretraining)
        figures = learning_curves(chart, {config.seed: history}, "token")
        best = history[history["split"] == "validation"]["loss"].min()
        if not math.isnan(best):
            facts.append(
                ("Best validation loss", f"{number(best)} nats per token (perplexity {number(math.exp(best))})")
            )
    if verification is not None:
        facts.append(_verified(read_object(verification)))
    return ModelView(name, facts, figures)


def facts_of(model: Model, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """What the config says of it."""
    facts = [("Started from", _start(model))]
    facts += _shape(model.architecture, tokenizer) if model.architecture else []
    return [*facts, ("Tokenizer", f"{model.tokenizer}: {_tokenizer(tokenizer)}")]


def _start(model: Model) -> str:
    if model.pretrain:
        return f"random weights, then pretrained in this pipeline: {_pretrained(model.pretrain)}"
    if model.huggingface:
        source = model.huggingface
        return f"imported from the Hugging Face hub: {source.repo} at revision {source.revision}"
    if model.path:
        return f"imported from the folder {model.path}"
    if model.gguf:
        return f"imported from {_file(model.gguf[0])}"
    return "random weights, nothing pretrained"


def _file(source: Source) -> str:
    """Of an address only what holds no secret."""
    address = urlsplit(source.url or "")
    name = Path(source.member or source.path or address.path).name
    place = source.pypi or source.path or address.hostname
    return f"the file {source.path}" if source.path and not source.member else f"the file {name} of {place}"


def _pretrained(pretrain: Pretrain) -> str:
    training = pretrain.training
    epochs = f"{training.epochs:g} epoch" + ("" if training.epochs == 1 else "s")
    return (
        f"next-token prediction on the training split of {', '.join(pretrain.datasets)}, {epochs},"
        f" batches of {training.batch_size}, learning rate {training.learning_rate:g}"
    )


def _shape(architecture: Architecture, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """A trained tokenizer decides the vocabulary, whatever the architecture's default is."""
    a = architecture.model_copy(update={"vocab_size": tokenizer.vocab_size or architecture.vocab_size})
    return [
        ("Shape", f"{a.n_layers} layers, {a.n_heads} heads, width {a.d_model}, feed-forward {a.feedforward_width}"),
        ("Parts", _parts(a)),
        ("Context", f"{a.context_length:,} tokens"),
        ("Vocabulary", f"{a.vocab_size:,} tokens"),
        ("Parameters", f"{a.n_parameters:,} (language model)"),
    ]


def _parts(architecture: Architecture) -> str:
    names = {"layer_norm": "layer normalisation", "rms_norm": "RMS normalisation"}
    bias = "with bias" if architecture.bias else "without bias"
    parts = [names[architecture.norm], f"{architecture.position} positions", architecture.activation, bias]
    if architecture.kv_heads < architecture.n_heads:
        parts.append(f"{architecture.kv_heads} heads of keys and values")
    return ", ".join(parts)


def _tokenizer(tokenizer: Tokenizer) -> str:
    if tokenizer.train_on:
        return f"byte-level BPE trained in this pipeline on the training split of {', '.join(tokenizer.train_on)}"
    if tokenizer.gguf:
        return f"byte-level BPE, from the GGUF file of {tokenizer.gguf}"
    return "byte-level BPE, vocabulary and merges imported"


def _verified(found: dict[str, Any]) -> tuple[str, str]:
    version = found["transformers"]
    against = "transformers" if version else "its own attention step by step, as transformers has no such model"
    return (
        f"Checked against {against}",
        f"logits differ by at most {found['max_difference']:.1e} over {found['positions']:,} positions"
        f" (largest logit {number(found['largest_logit'])}, relative difference {found['relative']:.1e})"
        + (f", transformers {version}" if version else "")
        + ("; with the usual attention in place of the model's own" if found["weights_alone"] else ""),
    )
