"""Whether a config is YAML at all: Snakemake, which reads it, does not say where it breaks off.

`python -m gptsmith.config.syntax FILE` looks before Snakemake reads a --configfile.
"""

import sys
from pathlib import Path

import yaml

from gptsmith.errors import UserError


def check_syntax(path: Path) -> None:
    """Raise UserError, with line and column, unless the file is there and holds a YAML mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
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


if __name__ == "__main__":
    try:
        check_syntax(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
