"""Whether a config is YAML at all, with every key once: Snakemake, which reads it, does not say where it breaks off,
and of a key that is there twice takes the last.

`python -m gptsmith.config.syntax FILE` looks before Snakemake reads a --configfile.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from gptsmith.errors import UserError


def check_syntax(path: Path) -> None:
    """Raise UserError, with line and column, unless the file is there and holds a YAML mapping, with every key once."""
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file to read the config from") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML ({error.problem})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty, or not a mapping of keys to values")
    for first, again in _duplicate_keys(yaml.compose(text, yaml.SafeLoader)):
        lines = f"{first.start_mark.line + 1} and {again.start_mark.line + 1}"
        raise UserError(f"{path}, lines {lines}: the key {again.value!r} is there twice; remove or rename one of them")


def _duplicate_keys(root: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Pairs of equal keys of one mapping. (A key that overrides what is merged in by `<<` is no duplicate.)"""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an anchor's, by another alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, yaml.Node] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in first:
                        yield first[key.value], key
                    first[key.value] = key
                waiting.append(value)


if __name__ == "__main__":
    try:
        check_syntax(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
