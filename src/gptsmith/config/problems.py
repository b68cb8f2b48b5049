"""Say what is wrong with a config, and where, in words that help to mend it."""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what is known when nothing comes close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def describe(details: ErrorDetails, raw: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    """One line for each problem in one of pydantic's errors about `raw`."""
    kind, context = details["type"], details.get("ctx", {})
    tag_key = str(context.get("discriminator")).strip("'")
    location, types_there = _follow(model, details["loc"])
    place = _path_in(raw, location, keep_last=kind == "missing")
    message = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        for line in message.splitlines():
            yield f"{place}: {line}" if place else line
    elif kind == "extra_forbidden":
        known = [key for candidate in types_there if _is_model(candidate) for key in candidate.model_fields]
        yield f"{place}: unknown key{nearest(str(location[-1]), known)}"
    elif kind == "missing":
        yield f"{place}: missing"
    elif kind == "union_tag_not_found":
        yield f"{place}.{tag_key}: missing"
    elif kind == "union_tag_invalid":
        yield f"{place}.{tag_key}: {context['tag']!r} is none of {context['expected_tags']}"
    else:
        found = details.get("input")
        shown = f" (found {found!r})" if found is None or isinstance(found, str | int | float | bool) else ""
        yield f"{place}: {message[:1].lower()}{message[1:]}{shown}"


Location = Sequence[int | str]


def _path_in(raw: Any, location: Location, *, keep_last: bool) -> str:
    """The path as the user wrote it."""
    path = ""
    for position, element in enumerate(location):
        here = (isinstance(raw, Mapping) and element in raw) or (isinstance(raw, list) and isinstance(element, int))
        if here:
            raw = raw[element]
        elif not (keep_last and position == len(location) - 1):
            continue
        path += f"[{element}]" if isinstance(element, int) else f".{element}"
    return path.lstrip(".")


def _follow(model: type[BaseModel], location: Location) -> tuple[Location, list[Any]]:
    """`location` without the names of union members, which pydantic puts among the keys, and the types
    that its last element was looked for in."""
    keys, candidates, parents = [], [model], []
    for element in location:
        if len(candidates) > 1:
            candidates = _member_called(element, candidates)
        else:
            keys.append(element)
            parents, candidates = candidates, [inner for outer in candidates for inner in _step(outer, element)]
    return keys, parents


def _member_called(tag: int | str, members: list[Any]) -> list[Any]:
    """The model that says so itself (`task: Literal[tag]`), or else the one with such a key."""
    models = [member for member in members if _is_model(member)]
    said = [m for m in models if any(tag in typing.get_args(field.annotation) for field in m.model_fields.values())]
    return (said or [m for m in models if tag in m.model_fields])[:1]


def _step(candidate: Any, element: int | str) -> Iterator[Any]:
    """Types found under `element` of a value of type `candidate`."""
    if _is_model(candidate):
        if element in candidate.model_fields:
            yield from _members(candidate.model_fields[str(element)].annotation)
    elif typing.get_origin(candidate) in (dict, list):
        yield from _members(typing.get_args(candidate)[-1])


def _members(annotation: Any) -> Iterator[Any]:
    """The alternatives of a union other than None, through Annotated."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif annotation is not types.NoneType:
        yield annotation


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
