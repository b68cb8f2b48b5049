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
import re
import sys
from collections.abc import Iterator
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
        digest.update(b"%s\n%s\n" % (name.encode(), _essential_source(file)))
    for library in sorted(libraries - sys.stdlib_module_names):
        digest.update(f"{library}=={_installed_version(library)}\n".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _installed_version(library: str) -> str:
    return importlib.metadata.version(DISTRIBUTIONS.get(library, library))


@functools.cache
def _syntax(file: Path) -> tuple[bytes, list[ast.AST]]:
    """The source, and all statements in it (`ast.walk` would visit ten times as many expressions)."""
    source = file.read_text(encoding="utf-8").encode()
    return source, list(_statements(ast.parse(source, filename=str(file))))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for statement in getattr(node, part, ()):
            yield statement
            yield from _statements(statement)


@functools.cache
def _imported_names(file: Path) -> frozenset[str]:
    """Absolute dotted names that may be modules, imports inside functions included."""
    names = set[str]()
    for node in _syntax(file)[1]:
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


# A string, whose white space is part of the program; or what ends a line, and empty lines after it.
STRING_OR_LINE_END = re.compile(
    rb'''
    (?P<string> """(?:\\.|[^\\])*?""" | \'{3}(?:\\.|[^\\])*?\'{3} | "(?:\\.|[^"\\])*" | \'(?:\\.|[^\'\\])*\' )
    | (?: [ \t\f]* (?:\#[^\n]*)? \n )+
    ''',
    re.VERBOSE | re.DOTALL,
)


@functools.cache
def _essential_source(file: Path) -> bytes:
    """The source without comments, docstrings, and the white space that they leave behind."""
    source, statements = _syntax(file)
    lines = source.split(b"\n")
    for node in statements:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            before, after = lines[first][: node.col_offset], lines[last - 1][node.end_col_offset :]
            if not before.strip() and not after.split(b"#")[0].strip():
                lines[first:last] = [b""] * (last - first)
    shortened = STRING_OR_LINE_END.sub(lambda match: match["string"] or b"\n", b"\n".join([*lines, b""]))
    return shortened.strip(b"\n")
