"""Conversations in a tokenizer's own chat format, as ids.

The format is a Jinja template that comes with the tokenizer: Hugging Face's tokenizers and GGUF files carry one. It is
somebody else's program, so it runs in Jinja's sandbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NoReturn

import regex
from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gptsmith.config.prompts import PromptStyle
from gptsmith.data.prompts import format_message, format_prompt
from gptsmith.errors import UserError
from gptsmith.tokenizer.fast import Tokenizer


@dataclass(frozen=True)
class Message:
    role: Literal["user", "assistant"]
    content: str


def encode_prompt(tokenizer: Tokenizer, instruction: str, input: str, style: PromptStyle) -> list[int]:  # noqa: A002
    """Ids of the prompt that a response follows directly.

    Raises UserError as `encode_chat` and `Tokenizer.encode` do.
    """
    if style == "chat":
        return encode_chat(tokenizer, [Message("user", format_message(instruction, input))])
    return tokenizer.encode(format_prompt(instruction, input, style))


def encode_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation and of what the template puts before the assistant's next answer.

    Names of special tokens in the template are those tokens; in a message they are text like any other.
    Raises UserError where the tokenizer has no template, or its template does not bear these messages.
    """
    special_ids = tokenizer.byte_pairs.special_ids
    special = regex.compile(r"(\L<names>)", names=list(special_ids))
    # What a message has of their names is broken up until the template's are found.
    mark = _character_not_in([message.content for message in messages])
    said = [
        {"role": message.role, "content": special.sub(lambda name: mark.join(name[0]), message.content)}
        for message in messages
    ]
    ids: list[int] = []
    for part in special.split(_render(tokenizer, said)):
        ids += [special_ids[part]] if part in special_ids else tokenizer.encode(part.replace(mark, ""))
    return ids


def _render(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> str:
    conventions = tokenizer.conventions
    if conventions.chat_template is None:
        raise UserError(
            f"tokenizer {tokenizer.name}: has no chat template; use prompt: alpaca or compact, or give it one "
            "(tokenizers.<name>.conventions.chat_template)"
        )
    try:
        return _compiled(conventions.chat_template).render(
            messages=messages,
            add_generation_prompt=True,
            eos_token=conventions.end_of_text,
            bos_token=conventions.end_of_text,
            raise_exception=_refuse,
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise UserError(f"tokenizer {tokenizer.name}: its chat template fails ({error})") from error


@cache
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(template)


def _refuse(message: str) -> NoReturn:
    """For templates: how they say that they do not bear the messages."""
    raise TemplateError(message)


def _character_not_in(texts: Sequence[str]) -> str:
    """One of those that Unicode reserves for uses like this."""
    return next(mark for mark in map(chr, range(0xFDD0, 0xFDF0)) if not any(mark in text for text in texts))
