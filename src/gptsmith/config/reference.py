"""Write the config's JSON schema and the tables of config/README.md from the models of this package.

Run it in a checkout of the project after a change to the config's models:
`python -m gptsmith.config.reference`. With --check it writes nothing, and fails when one of the two
files is not current.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from gptsmith.command import argument_parser, run
from gptsmith.config.load import Config
from gptsmith.errors import UserError
from gptsmith.files import write_text

ROOT = Path(__file__).parents[3]
MARKER = "<!-- Below: written by `python -m gptsmith.config.reference` from the docstrings in src/gptsmith/config. -->"

Schema = dict[str, Any]

WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def generated_files(root: Path) -> dict[Path, str]:
    """The two files under the project's folder `root`, and what they should contain.

    Raises UserError when the README is not there or has lost the line before its tables.
    """
    readme, schema = root / "config" / "README.md", json_schema()
    head, marker, _ = readme.read_text(encoding="utf-8").partition(MARKER) if readme.is_file() else ("", "", "")
    if not marker:
        raise UserError(f"{readme}: no line {MARKER}\nRun this in a checkout of the project, or restore the file.")
    return {
        root / "workflow" / "schemas" / "config.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        readme: head + MARKER + "\n\n" + reference(schema),
    }


def json_schema() -> Schema:
    """What pydantic says of the config, with the dialect that editors look for."""
    return {"$schema": GenerateJsonSchema.schema_dialect, **Config.model_json_schema()}


def reference(schema: Schema) -> str:
    """Markdown: the top level and then each model where it is first needed, each with a table of its keys."""
    definitions = schema["$defs"]
    places: dict[str, list[str]] = {}
    _find_places(schema, "", definitions, places)
    sections = [("Top level", schema, [""]), *((_title(name), definitions[name], places[name]) for name in places)]
    return "\n".join(_section(title, model, where, definitions) for title, model, where in sections)


def _find_places(model: Schema, path: str, definitions: Schema, places: dict[str, list[str]]) -> None:
    """Add to `places` the paths, in a config, of every model found in `model`, which stands at `path`."""
    for key, value in model["properties"].items():
        for name, place in _models_in(value, f"{path}.{key}".lstrip(".")):
            if place not in places.setdefault(name, []):
                places[name].append(place)
                _find_places(definitions[name], place, definitions, places)


def _models_in(value: Schema, path: str) -> Iterator[tuple[str, str]]:
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2], path
    for member in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _models_in(member, path)
    for member in value.get("patternProperties", {}).values():
        yield from _models_in(member, f"{path}.<name>")
    if "items" in value:
        yield from _models_in(value["items"], f"{path}[]")


def _section(title: str, model: Schema, places: list[str], definitions: Schema) -> str:
    required = model.get("required", [])
    lines = [f"## {title}", "", _one_line(model["description"]), ""]
    if places != [""]:
        lines += [f"Stands at {', '.join(f'`{place}`' for place in places)}.", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, value in model["properties"].items():
        default = "required" if key in required else _default(value, definitions)
        cells = (f"`{key}`", _type(value), default, _one_line(value.get("description", "")))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(value: Schema) -> str:
    """The type in plain words; null is left out where it is the default, which says it."""
    if "$ref" in value:
        title = _title(value["$ref"].rpartition("/")[2])
        return f"[{title}](#{title.lower().replace(' ', '-')})"
    if members := value.get("anyOf") or value.get("oneOf"):
        shown = [_type(one) for one in members if one.get("type") != "null" or value.get("default") is not None]
        return " or ".join(shown)
    if "const" in value or "enum" in value:
        words = [_code(word) for word in value.get("enum", [value.get("const")])]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if "patternProperties" in value:
        return "by name: " + " or ".join(_type(one) for one in value["patternProperties"].values())
    match value.get("type"):
        case None:
            return "values"
        case "array":
            return f"list of {_type(value['items'])}"
        case "object":
            values = value["additionalProperties"]
            return f"mapping of text to {'values' if values is True else _type(values)}"
        case "null":
            return "`null`"
    bounds = " and ".join(f"{words} {value[bound]:g}" for bound, words in BOUNDS.items() if bound in value)
    return f"{WORDS[value['type']]} ({bounds})" if bounds else WORDS[value["type"]]


def _default(value: Schema, definitions: Schema) -> str:
    default = value["default"]
    if "$ref" not in value:
        return _code(default)
    own = {key: one.get("default") for key, one in definitions[value["$ref"].rpartition("/")[2]]["properties"].items()}
    return "its defaults" if default == own else _code(default)


def _code(value: Any) -> str:
    """A value as one writes it in YAML."""
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {_code(one).strip('`')}" for key, one in value.items()) + "}`"
    return f"`{value}`" if isinstance(value, str) and "\n" not in value else f"`{json.dumps(value)}`"


def _title(name: str) -> str:
    """`ClassificationDataset` -> `Classification Dataset`, `LoRAOnly` -> `LoRA Only`."""
    return re.sub(r"(?<=[a-z]{2}|[A-Z]{2})(?=[A-Z][a-z])", " ", name)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    check = parser.parse_args().check
    files = generated_files(ROOT)
    stale = {path: text for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text}
    if check and stale:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in stale)
        raise UserError(f"not current: {names}. Run: python -m gptsmith.config.reference")
    for path, text in stale.items():
        write_text(path, text)
        print(f"written: {path.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    run(main)
