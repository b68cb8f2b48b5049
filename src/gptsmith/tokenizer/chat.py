"""Conversations in a tokenizer's own chat format, as ids.

The format is a Jinja template that comes with the tokenizer: Hugging Face's tokenizers and GGUF files carry one. It is
somebody else's program, so it runs in Jinja's sandbox.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NoReturn

import regex
from jinja2 import Template, TemplateError
from jinja2.runtime import Context
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
    mark = _text_not_in([*special_ids, *(message.content for message in messages)])
    said = [{"role": message.role, "content": _broken_up(message.content, special, mark)} for message in messages]
    ids: list[int] = []
    for part in special.split(_render(tokenizer, said)):
        ids += [special_ids[part]] if part in special_ids else tokenizer.encode(part.replace(mark, ""))
    if not ids:
        raise UserError(f"tokenizer {tokenizer.name}: its chat template writes nothing")
    return ids


def _broken_up(text: str, special: regex.Pattern[str], mark: str) -> str:
    # Again, because names may overlap.
    while special.search(text):
        text = special.sub(lambda name: mark.join(name[0]), text)
    return text


def _text_not_in(texts: Sequence[str]) -> str:
    """Made of a character that Unicode reserves for uses like this."""
    mark = "\ufdd0"
    while any(mark in text for text in texts):
        mark += "\ufdd0"
    return mark


def _render(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> str:
    conventions = tokenizer.conventions
    if not conventions.chat_template:
        raise UserError(
            f"tokenizer {tokenizer.name}: has no chat template; use prompt: alpaca or compact, or give it one "
            "(tokenizers.<name>.conventions.chat_template)"
        )
    if "bos_token" in conventions.chat_template:
        raise UserError(
            f"tokenizer {tokenizer.name}: its chat template asks for bos_token, which is not known here; "
            "write the token's name in its place"
        )
    try:
        return _compiled(conventions.chat_template).render(
            messages=messages, add_generation_prompt=True, eos_token=conventions.end_of_text, raise_exception=_refuse
        )
    # Somebody else's program fails in whichever way it likes.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"tokenizer {tokenizer.name}: its chat template fails ({reason})") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's, in which a line cannot ask for any memory or time it likes; a loop still can ask for time."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not all(isinstance(side, int | float) for side in (left, right)):
            raise TemplateError(f"{operator} is not allowed")
        return super().call_binop(context, operator, left, right)


@cache
def _compiled(template: str) -> Template:
    sandbox = _Sandbox(trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=["jinja2.ext.loopcontrols"])
    # As for Hugging Face's tokenizers; Jinja's own is for HTML.
    sandbox.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return sandbox.from_string(template)


def _refuse(message: str) -> NoReturn:
    """For templates: how they say that they do not bear the messages."""
    raise TemplateError(message)
