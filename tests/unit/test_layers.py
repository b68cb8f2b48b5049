"""Imports go down only, and the heavy libraries stay where they are needed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "gptsmith"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first. What stands together may import each other.
LAYERS = [
    {"errors", "files", "command", "provenance", "code_version", "stale_locks", "progress_line"},
    {"config"},
    {"scheduling"},
    {"monitoring"},
    {"sources"},
    {"data"},
    {"tokenizer"},
    {"model"},
    {"checkpoint"},
    {"inspection"},
    {"training"},
    {"generation"},
    {"evaluation"},
    {"report"},
    {"versions"},
    {"serving"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
WITHOUT_TORCH = LEVEL.keys() - {"model", "checkpoint", "training", "generation", "errors", "serving", "cli"}


def module_name(path: Path) -> str:
    return ".".join(("gptsmith", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imported_modules(path: Path) -> Iterator[str]:
    """Dotted names of the modules that a file imports, anywhere in it."""
    known = {module_name(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import absolutely"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in inner if name in known] or [node.module or ""]


def part_of(module: str) -> str:
    """`gptsmith.data.splits` -> `data`."""
    return (module + ".").split(".")[1]


IMPORTS = {module_name(path): sorted(set(imported_modules(path))) for path in MODULES}


def reached_from(module: str) -> set[str]:
    """All that importing `module` may import."""
    reached, pending = set[str](), [module]
    while pending:
        for name in IMPORTS.get(pending.pop(), []):
            if name not in reached:
                reached.add(name)
                pending.append(name)
    return reached


def test_every_part_has_a_layer() -> None:
    assert {part_of(module) for module in IMPORTS} - {""} == LEVEL.keys()


@pytest.mark.parametrize("module", [module for module in IMPORTS if part_of(module)])
def test_imports_go_down_only(module: str) -> None:
    for name in IMPORTS[module]:
        if name.split(".")[0] == "gptsmith":
            assert part_of(name), f"{module} imports the whole package"
            assert LEVEL[part_of(name)] <= LEVEL[part_of(module)], f"{module} imports {name}"


def test_no_module_imports_itself_by_a_detour() -> None:
    assert [module for module in IMPORTS if module in reached_from(module)] == []


@pytest.mark.parametrize("module", [module for module in IMPORTS if part_of(module) in WITHOUT_TORCH])
def test_parts_around_the_model_import_no_torch(module: str) -> None:
    assert not {name for name in reached_from(module) if name.split(".")[0] in ("torch", "safetensors")}


def test_only_the_verification_of_checkpoints_imports_transformers() -> None:
    users = {module for module, names in IMPORTS.items() if any(n.split(".")[0] == "transformers" for n in names)}
    assert users == {"gptsmith.checkpoint.verification"}


def test_importing_a_package_runs_nothing() -> None:
    packages = [path for path in MODULES if path.name == "__init__.py"]
    assert len(packages) == len({path.parent for path in MODULES})
    assert [path for path in packages if path.read_bytes()] == []
