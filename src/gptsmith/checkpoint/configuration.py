"""config.json of a checkpoint: our `architecture` block, and the keys of transformers' GPT2Config beside it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveInt, ValidationError

from gptsmith.checkpoint.folder import config_file
from gptsmith.config.architecture import Architecture
from gptsmith.config.prompts import PromptStyle
from gptsmith.config.strict import STRICT
from gptsmith.errors import UserError
from gptsmith.files import read_json

# gelu_new and gelu_pytorch_tanh are two names of one function.
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
ACTIVATION_NAMES = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}

CLASSIFIER = "GPT2ForSequenceClassification"

# The model_type of what transformers does not have: it then refuses the folder instead of computing something else.
OWN = "gptsmith"

# Where GPT2Config can ask for another computation, the value that is the GPT-2 of this package.
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
}


class FineTuning(BaseModel):
    """What whoever uses a fine-tuned model has to do as its training did: block `fine_tuning` of config.json."""

    model_config = STRICT

    max_length: PositiveInt
    """Longest text, in tokens; longer ones lost their end."""
    prompt: PromptStyle | None = None
    """Wording around instructions; None for a classifier."""


def language_model_config(
    architecture: Architecture, end_of_text: int, fine_tuning: FineTuning | None
) -> dict[str, Any]:
    """config.json of a LanguageModel; loads as GPT2LMHeadModel."""
    return {"architectures": ["GPT2LMHeadModel"]} | _shared_config(architecture, end_of_text, fine_tuning)


def classifier_config(
    architecture: Architecture, labels: list[str], end_of_text: int, fine_tuning: FineTuning | None
) -> dict[str, Any]:
    """config.json of a Classifier, `labels` in the order of its logits; loads as GPT2ForSequenceClassification."""
    return {
        "architectures": [CLASSIFIER],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    } | _shared_config(architecture, end_of_text, fine_tuning)


def _shared_config(architecture: Architecture, end_of_text: int, fine_tuning: FineTuning | None) -> dict[str, Any]:
    config = {
        "model_type": "gpt2" if architecture.is_gpt2 else OWN,
        "vocab_size": architecture.vocab_size,
        "n_positions": architecture.context_length,
        "n_ctx": architecture.context_length,
        "n_embd": architecture.d_model,
        "n_layer": architecture.n_layers,
        "n_head": architecture.n_heads,
        "n_inner": architecture.d_feedforward,
        "activation_function": ACTIVATION_NAMES[architecture.activation],
        "layer_norm_epsilon": architecture.layer_norm_epsilon,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": architecture.tie_embeddings,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        "architecture": architecture.model_dump(mode="json"),
    }
    return config if fine_tuning is None else config | {"fine_tuning": fine_tuning.model_dump(mode="json")}


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json. Raises UserError when there is none, or it is of another kind of model."""
    path = config_file(folder)
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected a mapping")
    if config.get("model_type") not in ("gpt2", OWN):
        raise UserError(f"{path}: model_type is {config.get('model_type')!r}; only 'gpt2' can be loaded")
    return config


def read_architecture(folder: Path) -> Architecture:
    """Shape of the checkpoint's model: our block of config.json, or GPT2Config's keys where transformers wrote it.

    Raises UserError for a missing key, a wrong value, or a setting that this GPT-2 does not have.
    """
    path, config = folder / "config.json", read_config(folder)
    shape = config["architecture"] if "architecture" in config else _from_gpt2_keys(path, config)
    with _validation_errors(path, "architecture"):
        return Architecture.model_validate(shape)


def read_fine_tuning(folder: Path) -> FineTuning | None:
    """How the checkpoint was fine-tuned; None where its config.json does not say."""
    path, config = folder / "config.json", read_config(folder)
    with _validation_errors(path, "fine_tuning"):
        return FineTuning.model_validate(config["fine_tuning"]) if "fine_tuning" in config else None


@contextlib.contextmanager
def _validation_errors(path: Path, block: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or block
        raise UserError(f"{path}: {place}: {first['msg']}") from error


def _from_gpt2_keys(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Keys that may be left out mean what GPT2Config's defaults say."""
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise UserError(f"{path}: {key} is {config[key]}; only {value} can be loaded")
    activation = config.get("activation_function", "gelu_new")
    if activation not in list(ACTIVATIONS):
        raise UserError(f"{path}: activation_function is {activation!r}; known are {', '.join(ACTIVATIONS)}")
    try:
        return {
            "vocab_size": config["vocab_size"],
            "context_length": config["n_positions"],
            "d_model": config["n_embd"],
            "n_layers": config["n_layer"],
            "n_heads": config["n_head"],
            "d_feedforward": config.get("n_inner"),
            "activation": ACTIVATIONS[activation],
            "tie_embeddings": config.get("tie_word_embeddings", True),
            "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        }
    except KeyError as error:
        raise UserError(f"{path}: {error.args[0]} is missing") from error


def is_classifier(folder: Path) -> bool:
    return read_config(folder).get("architectures") == [CLASSIFIER]


def read_labels(folder: Path) -> list[str]:
    """The classes of a classifier's logits, in their order. Raises UserError when config.json has none."""
    path, config = folder / "config.json", read_config(folder)
    names = config.get("id2label")
    if config.get("architectures") != [CLASSIFIER] or not isinstance(names, dict):
        raise UserError(f"{path}: not a classifier (architectures: {config.get('architectures')})")
    try:
        return [str(names[str(index)]) for index in range(len(names))]
    except KeyError as error:
        raise UserError(f"{path}: id2label has no entry {error.args[0]}") from error
