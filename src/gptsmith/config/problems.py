"""Say what is wrong with a config, and where, in words that help to mend it."""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
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
    location, kind = details["loc"], details["type"]
    place = _path_in(raw, location, keep_last=kind == "missing")
    message = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        for line in message.splitlines():
            yield f"{place}: {line}" if place else line
    elif kind == "extra_forbidden":
        yield f"{place}: unknown key{nearest(str(location[-1]), _known_keys(model, location[:-1]))}"
    elif kind == "missing":
        yield f"{place}: missing"
    else:
        found = details.get("input")
        shown = f" (found {found!r})" if found is None or isinstance(found, str | int | float | bool) else ""
        yield f"{place}: {message[:1].lower()}{message[1:]}{shown}"


def _path_in(raw: Any, location: tuple[int | str, ...], *, keep_last: bool) -> str:
    """The path as the user wrote it: pydantic's location less the names of union members."""
    path = ""
    for position, element in enumerate(location):
        here = (isinstance(raw, Mapping) and element in raw) or (isinstance(raw, list) and isinstance(element, int))
        if here:
            raw = raw[element]
        elif not (keep_last and position == len(location) - 1):
            continue
        path += f"[{element}]" if isinstance(element, int) else f".{element}"
    return path.lstrip(".")


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys that a mapping at `location` may have."""
    candidates: list[Any] = [model]
    for element in location:
        candidates = [inner for candidate in candidates for inner in _step(candidate, element)] or candidates
    return [key for candidate in candidates if _is_model(candidate) for key in candidate.model_fields]


def _step(candidate: Any, element: int | str) -> Iterator[Any]:
    """Types found under `element` of a value of type `candidate`; the type itself for its union tag."""
    if _is_model(candidate):
        if element in candidate.model_fields:
            yield from _members(candidate.model_fields[element].annotation)
        elif any(element in typing.get_args(field.annotation) for field in candidate.model_fields.values()):
            yield candidate
    elif typing.get_origin(candidate) in (dict, list):
        yield from _members(typing.get_args(candidate)[-1])


def _members(annotation: Any) -> Iterator[Any]:
    """The alternatives of a union, through Annotated and Optional."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
