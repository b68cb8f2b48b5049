"""Chat-style `messages`, `[{"role": ..., "content": ...}, ...]`, as an instruction and its answer.

A model here is asked one question at a time, so of a longer conversation it learns the first exchange. Each later
answer follows from all before it: as rows of their own they would put parts of one conversation into several splits.
"""

import json
from typing import Any

from gptsmith.data.cleaning import clean

# ShareGPT's names beside OpenAI's.
NAMES = (("role", "from"), ("content", "value"))
ROLES = {"human": "user", "gpt": "assistant"}


class NoExchangeError(ValueError):
    """A conversation without a question and an answer to it."""


def first_exchange(messages: str) -> tuple[str, str]:
    """The first turn of the user, after the system's in a paragraph of its own, and the assistant's first after it.

    `messages` is JSON. Raises ValueError, which says why, when it is no such conversation; NoExchangeError when
    it has no question or no answer.
    """
    if not messages.strip():
        raise NoExchangeError("not a list of {role, content}")
    turns = [_turn(turn) for turn in _list(messages)]
    system = next((text for role, text in turns if role == "system"), "")
    asked = next((number for number, (role, text) in enumerate(turns) if role == "user" and text), None)
    if asked is None:
        raise NoExchangeError("no turn of the role 'user' that says something")
    answer = next((text for role, text in turns[asked + 1 :] if role == "assistant" and text), None)
    if answer is None:
        raise NoExchangeError("no turn of the role 'assistant' after the user's")
    return "\n\n".join(part for part in (system, turns[asked][1]) if part), answer


def _list(messages: str) -> list[Any]:
    found = json.loads(messages) if messages.startswith("[") else None
    if not isinstance(found, list):
        raise ValueError("not a list of {role, content}")
    return found


def _turn(turn: Any) -> tuple[str, str]:
    role = content = None
    if isinstance(turn, dict):
        role, content = (turn[key] if key in turn else turn.get(other) for key, other in NAMES)
    if not isinstance(role, str) or not isinstance(content, str | None):
        raise ValueError("a turn that is not {role, content} with texts")
    return ROLES.get(role, role), clean(content or "")
