"""The version of the code that a stage runs, as a short hash for its rule's parameters.

Snakemake sees a rule's shell command, not the modules that the command imports. So every rule
carries this hash: of its script, of every module of the package that the script imports (directly
or not), and of the versions of the other packages that those import. Comments, docstrings and blank
lines do not count; neither does when a file was written.
"""

import ast
import functools
import hashlib
import importlib.metadata
import io
import sys
import tokenize
from pathlib import Path

PACKAGE = "gptsmith"
PACKAGE_FOLDER = Path(__file__).parent

# Distributions whose name is not the name one imports.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "rouge_score": "rouge-score"}


@functools.cache
def code_version(script: Path) -> str:
    """Sixteen hexadecimal digits that change when, and only when, the code run by `script` does."""
    pending, files, libraries = [script], {script: script.name}, set[str]()
    while pending:
        for name in _imported_names(pending.pop()):
            if name.split(".")[0] != PACKAGE:
                libraries.add(name.split(".")[0])
            elif (found := _module_file(name)) is not None and found not in files:
                files[found] = found.relative_to(PACKAGE_FOLDER).as_posix()
                pending.append(found)
    digest = hashlib.sha256()
    for file, name in sorted(files.items(), key=lambda item: item[1]):
        digest.update(f"{name}\n{_essential_source(file)}\n".encode())
    for library in sorted(libraries - sys.stdlib_module_names):
        digest.update(f"{library}=={_installed_version(library)}\n".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _installed_version(library: str) -> str:
    return importlib.metadata.version(DISTRIBUTIONS.get(library, library))


@functools.cache
def _syntax(file: Path) -> tuple[str, ast.Module]:
    source = file.read_text(encoding="utf-8")
    return source, ast.parse(source, filename=str(file))


@functools.cache
def _imported_names(file: Path) -> frozenset[str]:
    """Absolute dotted names that may be modules, imports inside functions included."""
    names = set[str]()
    for node in ast.walk(_syntax(file)[1]):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            # `from package import module` and `from module import name` look the same.
            if node.module.split(".")[0] == PACKAGE:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _module_file(name: str) -> Path | None:
    """File of a module of this package; None for a name inside a module (packages hold no code)."""
    path = PACKAGE_FOLDER.joinpath(*name.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


@functools.cache
def _essential_source(file: Path) -> str:
    """The source without comments, docstrings, and the white space that they leave behind."""
    source = _syntax(file)[0]
    lines = source.split("\n")
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = [token for token in tokens if token.type not in LAYOUT]
    # Rows (from 1) that end inside a string, whose white space is part of the program.
    inside_strings = set[int]()
    for before, token, after in zip([None, *code], code, code[1:], strict=False):
        alone = (before is None or before.type == tokenize.NEWLINE) and after.type == tokenize.NEWLINE
        if token.type == tokenize.STRING and alone:
            lines[token.start[0] - 1 : token.end[0]] = [""] * (token.end[0] - token.start[0] + 1)
        else:
            inside_strings.update(range(token.start[0], token.end[0]))
    kept = (line if row in inside_strings else line.rstrip() for row, line in enumerate(lines, start=1))
    return "\n".join(line for row, line in enumerate(kept, start=1) if line or row in inside_strings)


LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
