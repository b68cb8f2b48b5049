"""config.json of a checkpoint: our `architecture` block, and beside it the keys of transformers' GPT2Config or
LlamaConfig where the model is one of those."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveInt, ValidationError

from gptsmith.checkpoint.folder import config_file
from gptsmith.checkpoint.names import Family, family_of
from gptsmith.checkpoint.transformers_keys import READABLE, from_transformers_keys, transformers_keys
from gptsmith.config.architecture import Architecture
from gptsmith.config.prompts import PromptStyle
from gptsmith.config.strict import STRICT
from gptsmith.errors import UserError
from gptsmith.files import read_json

LANGUAGE_MODELS: dict[Family, str] = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "gptsmith": "LanguageModel",
}
CLASSIFIERS: dict[Family, str] = {
    "gpt2": "GPT2ForSequenceClassification",
    "llama": "LlamaForSequenceClassification",
    "gptsmith": "Classifier",
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
    """config.json of a LanguageModel; loads as one of transformers where it has the model's family."""
    return {"architectures": [LANGUAGE_MODELS[family_of(architecture)]]} | _shared_config(
        architecture, end_of_text, fine_tuning
    )


def classifier_config(
    architecture: Architecture, labels: list[str], end_of_text: int, fine_tuning: FineTuning | None
) -> dict[str, Any]:
    """config.json of a Classifier, `labels` in the order of its logits; loads as one of transformers where it has the
    model's family."""
    return {
        "architectures": [CLASSIFIERS[family_of(architecture)]],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    } | _shared_config(architecture, end_of_text, fine_tuning)


def _shared_config(architecture: Architecture, end_of_text: int, fine_tuning: FineTuning | None) -> dict[str, Any]:
    config = {
        "model_type": family_of(architecture),
        "vocab_size": architecture.vocab_size,
        "tie_word_embeddings": architecture.tie_embeddings,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        **transformers_keys(architecture),
        "architecture": architecture.model_dump(mode="json"),
    }
    return config if fine_tuning is None else config | {"fine_tuning": fine_tuning.model_dump(mode="json")}


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json. Raises UserError when there is none, or it is of another kind of model."""
    path = config_file(folder)
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected a mapping")
    if config.get("model_type") not in list(LANGUAGE_MODELS):
        known = " and ".join(map(repr, READABLE))
        raise UserError(f"{path}: model_type is {config.get('model_type')!r}; only {known} can be loaded")
    return config


def read_architecture(folder: Path) -> Architecture:
    """What the checkpoint's model is: our block of config.json, or the keys of GPT2Config or LlamaConfig where
    transformers wrote it.

    Raises UserError for a missing key, a wrong value, or a setting that this package does not have.
    """
    path, config = folder / "config.json", read_config(folder)
    shape = config["architecture"] if "architecture" in config else from_transformers_keys(path, config)
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


def is_classifier(folder: Path) -> bool:
    return _is_classifier(read_config(folder))


def _is_classifier(config: dict[str, Any]) -> bool:
    return config.get("architectures") == [CLASSIFIERS[config["model_type"]]]


def read_labels(folder: Path) -> list[str]:
    """The classes of a classifier's logits, in their order. Raises UserError when config.json has none."""
    path, config = folder / "config.json", read_config(folder)
    names = config.get("id2label")
    if not _is_classifier(config) or not isinstance(names, dict):
        raise UserError(f"{path}: not a classifier (architectures: {config.get('architectures')})")
    try:
        return [str(names[str(index)]) for index in range(len(names))]
    except KeyError as error:
        raise UserError(f"{path}: id2label has no entry {error.args[0]}") from error
