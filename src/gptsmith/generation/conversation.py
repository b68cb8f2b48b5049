"""Talking with a language model that was fine-tuned on instructions."""

import codecs
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptsmith.checkpoint.configuration import is_classifier, read_fine_tuning
from gptsmith.checkpoint.files import load_language_model
from gptsmith.checkpoint.tokenizer import load_checkpoint_tokenizer
from gptsmith.config.generation import Generation
from gptsmith.config.prompts import PromptStyle
from gptsmith.errors import UserError
from gptsmith.generation.stream import stream
from gptsmith.model.heads import LanguageModel
from gptsmith.tokenizer.chat import Message, encode_chat, encode_prompt
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.training.compute import Compute


@dataclass(frozen=True)
class Assistant:
    """A model, and what it has to be talked to with."""

    model: LanguageModel
    tokenizer: Tokenizer
    prompt: PromptStyle
    compute: Compute

    @property
    def context_length(self) -> int:
        return self.model.architecture.context_length


@dataclass(frozen=True)
class Turn:
    message: str
    answer: str


@dataclass(frozen=True)
class Piece:
    """What a token adds to an answer."""

    text: str
    """Empty where the token ends within a character."""
    n_tokens: int
    """Of the answer so far."""
    finish_reason: Literal["stop", "length"] | None
    """Of the last piece: end-of-text, or no more room or tokens allowed."""


def load_assistant(checkpoint: Path, prompt: PromptStyle | None, compute: Compute) -> Assistant:
    """`prompt`: the wording to use instead of the one that the checkpoint was fine-tuned with.

    Raises UserError when the checkpoint is a classifier, when neither says which wording, or when anything in its
    folder is not as it should be.
    """
    if is_classifier(checkpoint):
        raise UserError(
            f"{checkpoint}: a classifier, which answers with labels alone.\n"
            f"To classify texts: gptsmith predict {checkpoint}"
        )
    fine_tuning = read_fine_tuning(checkpoint)
    prompt = prompt or (fine_tuning.prompt if fine_tuning else None)
    if prompt is None:
        raise UserError(
            f"{checkpoint}: config.json does not say which wording of prompts it was fine-tuned with "
            "(a base model, or one of an earlier version).\nName it with --prompt alpaca, compact or chat."
        )
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    if prompt == "chat" and not tokenizer.conventions.chat_template:
        raise UserError(f"{checkpoint}: its tokenizer has no chat template.\nUse --prompt alpaca or --prompt compact.")
    return Assistant(load_language_model(checkpoint).to(compute.device), tokenizer, prompt, compute)


def conversation_ids(
    assistant: Assistant, turns: Sequence[Turn], message: str, max_new_tokens: int
) -> tuple[list[int], int]:
    """Token ids that the answer to `message` follows, and how many of the `turns` before it they hold.

    Each turn is as in training: prompt, answer, end-of-text; in a chat as the tokenizer's template has it. Of the
    turns, as many of the last are kept as leave room for an answer of `max_new_tokens`, or of half of the context.

    Raises UserError for a message that leaves no room for an answer.
    """
    input_ids = _conversation_ids(assistant, [], message)
    if len(input_ids) >= assistant.context_length:
        raise UserError(
            f"the message is too long: {len(input_ids)} tokens with the words around it; the model reads "
            f"{assistant.context_length} with its answer"
        )
    room = assistant.context_length - min(max_new_tokens, assistant.context_length // 2)

    def length(n_kept: int) -> int:
        return len(_conversation_ids(assistant, turns[len(turns) - n_kept :], message))

    n_kept = bisect_right(range(1, len(turns) + 1), room, key=length)
    return _conversation_ids(assistant, turns[len(turns) - n_kept :], message), n_kept


def _conversation_ids(assistant: Assistant, turns: Sequence[Turn], message: str) -> list[int]:
    tokenizer = assistant.tokenizer
    if assistant.prompt == "chat":
        said = [part for turn in turns for part in (Message("user", turn.message), Message("assistant", turn.answer))]
        return encode_chat(tokenizer, [*said, Message("user", message)])
    ids: list[int] = []
    for turn in turns:
        ids += encode_prompt(tokenizer, turn.message, "", assistant.prompt)
        ids += [*tokenizer.encode(turn.answer), tokenizer.end_of_text]
    return ids + encode_prompt(tokenizer, message, "", assistant.prompt)


def answer(assistant: Assistant, input_ids: Sequence[int], settings: Generation, item: int = 0) -> Iterator[Piece]:
    """The answer as it is written, with a piece that ends it; `item` as in `stream`.

    To be read in one thread: autocast is a thread's own.
    """
    longest = min(settings.max_new_tokens, assistant.context_length - len(input_ids))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    n_tokens = 0
    with assistant.compute.autocast():
        for token in stream(assistant.model, input_ids, settings, assistant.tokenizer.vocabulary, item):
            n_tokens += 1
            yield Piece(decoder.decode(assistant.tokenizer.bytes_of(token)), n_tokens, None)
    yield Piece(decoder.decode(b"", final=True), n_tokens, "length" if n_tokens == longest else "stop")
