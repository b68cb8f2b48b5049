"""Checkpoints: a folder with model.safetensors and config.json, in Hugging Face's names and layout."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptsmith.checkpoint.configuration import (
    FineTuning,
    classifier_config,
    language_model_config,
    read_architecture,
    read_labels,
)
from gptsmith.checkpoint.folder import CONFIG, WEIGHTS, weights_file
from gptsmith.checkpoint.names import Weight, classifier_head, language_model_head, trunk_weights
from gptsmith.checkpoint.weights import check_tied_head, read_weights, write_weights
from gptsmith.config.architecture import Architecture
from gptsmith.errors import UserError
from gptsmith.files import write_json
from gptsmith.model.heads import Classifier, LanguageModel
from gptsmith.model.initialization import STANDARD_DEVIATION


def save_language_model(
    model: LanguageModel, folder: Path, end_of_text: int, fine_tuning: FineTuning | None = None
) -> None:
    """Write `model` so that AutoModelForCausalLM.from_pretrained(folder) is the same model, where transformers has its
    family. Adapters must be merged."""
    weights = chain(trunk_weights(model.architecture), language_model_head(model.architecture))
    config = language_model_config(model.architecture, end_of_text, fine_tuning)
    _save(model.state_dict(), weights, config, folder)


def save_classifier(
    model: Classifier, folder: Path, labels: list[str], end_of_text: int, fine_tuning: FineTuning | None = None
) -> None:
    """Write `model` so that AutoModelForSequenceClassification.from_pretrained(folder) is the same model, where
    transformers has its family, given texts padded on the right with `end_of_text`. labels: names of the classes in the
    order of the logits."""
    weights = chain(trunk_weights(model.architecture), classifier_head(model.architecture, len(labels)))
    config = classifier_config(model.architecture, labels, end_of_text, fine_tuning)
    _save(model.state_dict(), weights, config, folder)


def _save(state: dict[str, Tensor], weights: Iterable[Weight], config: dict[str, Any], folder: Path) -> None:
    # Without its config a folder is no checkpoint, so new weights never stand beside an old config.
    (folder / CONFIG).unlink(missing_ok=True)
    write_weights(folder / WEIGHTS, state, weights)
    write_json(folder / CONFIG, config)


def load_language_model(folder: Path) -> LanguageModel:
    """The checkpoint's language model: on the CPU, float32, in evaluation mode; its weights are the mapped file.

    Raises UserError that names what is wrong with the folder's files (see read_weights, read_architecture).
    """
    architecture = read_architecture(folder)
    return _load_language_model(weights_file(folder), architecture)


def load_classifier(folder: Path) -> tuple[Classifier, list[str]]:
    """The checkpoint's classifier (as `load_language_model`), and its labels in the order of its logits."""
    architecture, labels = read_architecture(folder), read_labels(folder)
    weights = chain(trunk_weights(architecture), classifier_head(architecture, len(labels)))
    state = read_weights(weights_file(folder), weights)
    return _classifier(architecture, len(labels), state), labels


def classifier_from_language_model(folder: Path, n_classes: int, generator: torch.Generator) -> Classifier:
    """A classifier on the trunk of a language model's checkpoint, with a new head drawn from `generator`."""
    architecture = read_architecture(folder)
    state = read_weights(weights_file(folder), trunk_weights(architecture))
    head = torch.empty(n_classes, architecture.d_model)
    state["score.weight"] = head.normal_(std=STANDARD_DEVIATION, generator=generator)
    return _classifier(architecture, n_classes, state)


def convert_weights(weights: Path, architecture: Architecture, folder: Path, n_tokens: int, end_of_text: int) -> None:
    """Make a checkpoint of a bare safetensors file in the published or in transformers' layout.

    n_tokens, end_of_text: of its tokenizer.

    Raises UserError when the file does not hold a language model of that architecture.
    """
    save_imported(_load_language_model(weights, architecture), folder, n_tokens, end_of_text)


def import_checkpoint(source: Path, folder: Path, n_tokens: int, end_of_text: int) -> None:
    """Make a checkpoint of a language model's folder that transformers or an earlier run wrote."""
    save_imported(load_language_model(source), folder, n_tokens, end_of_text)


def save_imported(model: LanguageModel, folder: Path, n_tokens: int, end_of_text: int) -> None:
    """Write the checkpoint of a model from elsewhere. Raises UserError when its tokenizer has more tokens."""
    # More embeddings than the tokenizer has tokens are fine (padding to a round number), fewer are not.
    if n_tokens > model.architecture.vocab_size:
        raise UserError(
            f"the model has {model.architecture.vocab_size} tokens, its tokenizer {n_tokens}: "
            "they do not belong together"
        )
    save_language_model(model, folder, end_of_text)


def _load_language_model(path: Path, architecture: Architecture) -> LanguageModel:
    state = read_weights(path, chain(trunk_weights(architecture), language_model_head(architecture)))
    if architecture.tie_embeddings:
        check_tied_head(path, state["trunk.embeddings.token.weight"])
    with torch.device("meta"):
        model = LanguageModel(architecture)
    model.load_state_dict(state, assign=True)
    return model.eval()


def _classifier(architecture: Architecture, n_classes: int, state: dict[str, Tensor]) -> Classifier:
    with torch.device("meta"):
        model = Classifier(architecture, n_classes)
    model.load_state_dict(state, assign=True)
    return model.eval()
