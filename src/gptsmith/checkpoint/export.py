"""A checkpoint as a folder that transformers' pipelines load as it is, and that a model hub shows."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from gptsmith.checkpoint.configuration import FineTuning, is_classifier, read_architecture, read_fine_tuning
from gptsmith.checkpoint.files import load_classifier, load_language_model, save_classifier, save_language_model
from gptsmith.checkpoint.folder import CONFIG
from gptsmith.checkpoint.model_card import model_card
from gptsmith.checkpoint.names import family_of
from gptsmith.checkpoint.tokenizer import load_checkpoint_tokenizer
from gptsmith.config.architecture import Architecture
from gptsmith.config.conventions import MERGES, VOCABULARY
from gptsmith.data.prompts import format_prompt
from gptsmith.errors import UserError
from gptsmith.files import read_json, write_json, write_text
from gptsmith.tokenizer.fast import Tokenizer, Vocabulary
from gptsmith.tokenizer.files import write_conventions

MESSAGE = "\ufffc"  # stands for a message


def export_checkpoint(checkpoint: Path, folder: Path, summary: Path | None, force: bool) -> None:
    """Write model, tokenizer, chat template and model card into `folder`: all of them, or nothing.

    summary: summary.json of the run, whose results go into the card. force: files of the same names in `folder` are
    replaced.

    Raises UserError when `folder` holds something and `force` is not set, and for a checkpoint that is not whole
    or whose model transformers does not have.
    """
    if family_of(architecture := read_architecture(checkpoint)) == "gptsmith":
        parts = ("attention", "norm", "position", "activation", "bias", "n_kv_heads")
        named = ", ".join(f"{part}: {getattr(architecture, part)}" for part in parts)
        raise UserError(f"{checkpoint}: transformers has GPT-2 and Llama, and no model with these parts ({named})")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file is there; name another folder")
    if folder.is_dir() and folder.samefile(checkpoint):
        raise UserError(f"{folder}: the checkpoint itself; name another folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UserError(f"{folder}: not empty; name another folder, or replace its files with --force")
    results = read_json(summary) if summary is not None else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        new = Path(made)
        _write(checkpoint, new, results)
        folder.mkdir(exist_ok=True)
        # Without its config a folder is no checkpoint, so old and new files never pass for one.
        (folder / CONFIG).unlink(missing_ok=True)
        for file in sorted(new.iterdir(), key=lambda file: file.name == CONFIG):
            file.replace(folder / file.name)


def _write(checkpoint: Path, folder: Path, results: dict[str, Any] | None) -> None:
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    fine_tuning = read_fine_tuning(checkpoint)
    labels: list[str] | None = None
    if is_classifier(checkpoint):
        classifier, labels = load_classifier(checkpoint)
        architecture = classifier.architecture
        save_classifier(classifier, folder, labels, tokenizer.end_of_text, fine_tuning)
    else:
        model = load_language_model(checkpoint)
        architecture = model.architecture
        save_language_model(model, folder, tokenizer.end_of_text, fine_tuning)
        write_json(folder / "generation_config.json", _generation_config(architecture, tokenizer.vocabulary))
        prompt = fine_tuning.prompt if fine_tuning is not None else None
        template = chat_template(prompt) if prompt in ("alpaca", "compact") else tokenizer.conventions.chat_template
        if template is not None:
            write_text(folder / "chat_template.jinja", template)
    _write_tokenizer(checkpoint, tokenizer, folder, _max_length(architecture, fine_tuning, labels))
    write_text(folder / "README.md", model_card(architecture, labels, fine_tuning, results))


def _max_length(architecture: Architecture, fine_tuning: FineTuning | None, labels: list[str] | None) -> int:
    """Of a text, in tokens: a classifier reads as far as in training."""
    if labels is None or fine_tuning is None:
        return architecture.context_length
    return min(fine_tuning.max_length, architecture.context_length)


def _generation_config(architecture: Architecture, vocabulary: Vocabulary) -> dict[str, Any]:
    padding = list(range(vocabulary.size, architecture.vocab_size))
    config = {
        "bos_token_id": vocabulary.end_of_text,
        "eos_token_id": vocabulary.end_of_text,
        "pad_token_id": vocabulary.end_of_text,
        "do_sample": False,
        "max_new_tokens": min(256, architecture.context_length // 2),
    }
    return config | ({"suppress_tokens": padding} if padding else {})


def chat_template(prompt: Literal["alpaca", "compact"]) -> str:
    """Jinja that writes messages as `gptsmith.generation.conversation` does."""
    before, after = map(json.dumps, format_prompt(MESSAGE, "", prompt).split(MESSAGE))
    return (
        "{%- for message in messages -%}\n"
        "{%- if message['role'] == 'user' -%}\n"
        f"{{{{- {before} + message['content'] + {after} -}}}}\n"
        "{%- elif message['role'] == 'assistant' -%}\n"
        "{{- message['content'] + eos_token -}}\n"
        "{%- else -%}\n"
        "{{- raise_exception('only messages of user and assistant: the model has learned no others') -}}\n"
        "{%- endif -%}\n"
        "{%- endfor -%}\n"
    )


def _write_tokenizer(checkpoint: Path, tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    for name in (VOCABULARY, MERGES):
        shutil.copyfile(checkpoint / name, folder / name)
    write_conventions(tokenizer.conventions, folder)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    has_single_digits = tokenizer.conventions.pretokens == "smollm"
    whole = tokenizers.Tokenizer(models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES)))
    whole.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if has_single_digits
        else byte_level
    )
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens(list(tokenizer.byte_pairs.special_ids))
    write_text(folder / "tokenizer.json", whole.to_str(pretty=True) + "\n")
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), tokenizer.conventions.end_of_text)
    config = {
        # GPT2Tokenizer brings pre-tokens of its own.
        "tokenizer_class": "PreTrainedTokenizerFast" if has_single_digits else "GPT2Tokenizer",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "padding_side": "right",
    }
    write_json(folder / "tokenizer_config.json", config | special)
