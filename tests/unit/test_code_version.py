"""The version of a stage's code changes when, and only when, the code that the stage runs does."""

import importlib.metadata
import io
import itertools
import os
import re
import shutil
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptsmith import code_version

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))

SCRIPT = '''"""What the script does."""

from gptsmith.top import f


def main():
    """Its main function."""
    f()  # call it


# Run it.
main()
'''
MODULES = {
    "top.py": "import numpy\n\nfrom gptsmith.part import module\n\n\ndef f():\n    from gptsmith import lazy\n",
    "part/module.py": 'import gptsmith.deep\n\nTEXT = """one\n\n  two\n# three\n"""\n',
    "deep.py": "def g(x):\n    return x\n",
    "lazy.py": "A = 1\n",
    "unused.py": "B = 1\n",
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script and a package of its own, found where the real one is looked for."""
    for name, text in MODULES.items():
        (tmp_path / "gptsmith" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "gptsmith" / name).write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(code_version, "PACKAGE_FOLDER", tmp_path / "gptsmith")
    yield tmp_path / "script.py"
    forget()


def forget() -> None:
    """As a new process would."""
    for function in vars(code_version).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def version(script: Path) -> str:
    forget()
    return code_version.code_version(script)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_version_is_a_short_hash(script: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", version(script))
    assert version(script) == version(script)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("script.py", "  # call it", ""),
        ("script.py", "# Run it.", "# Run it now.\n# At once."),
        ("script.py", "    f()", "    # not indented like f\n    f()"),
        ("script.py", "What the script does.", "What it does,\n\nin other words."),
        ("script.py", '    """Its main function."""\n', ""),
        ("script.py", "\n\n\ndef", "\n\n\n\n\ndef"),
        ("script.py", "\n\n\ndef", "\ndef"),
        ("script.py", "f()  # call it", "f()   "),
        ("gptsmith/top.py", "def f():\n", 'def f():\n    r"""Raw."""  # and remarked on\n'),
        ("gptsmith/deep.py", "    return x", "    return x  # unchanged"),
        ("gptsmith/unused.py", "1", "2"),
    ],
)
def test_what_is_not_run_does_not_count(script: Path, file: str, old: str, new: str) -> None:
    before = version(script)
    edit(script.parent / file, old, new)
    assert version(script) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("script.py", "    f()", "    f(f())"),
        ("script.py", "\nmain()", "\nif f:\n    main()"),
        ("gptsmith/top.py", "import numpy\n", ""),
        ("gptsmith/part/module.py", "one", "two"),
        ("gptsmith/deep.py", "return x", "return -x"),
        ("gptsmith/lazy.py", "1", "2"),
        # Inside a string that is no docstring everything counts.
        ("gptsmith/part/module.py", "one\n\n", "one\n"),
        ("gptsmith/part/module.py", "one\n", "one \n"),
        ("gptsmith/part/module.py", "# three", "# four"),
    ],
)
def test_what_is_run_counts(script: Path, file: str, old: str, new: str) -> None:
    before = version(script)
    edit(script.parent / file, old, new)
    assert version(script) != before


@pytest.mark.parametrize(
    "place",
    [
        "class A:\n    def f(self):\n        with a:\n            {}",
        "if a:\n    pass\nelif b:\n    pass\nelse:\n    {}",
        "try:\n    pass\nexcept A:\n    {}",
        "try:\n    pass\nfinally:\n    {}",
        "match a:\n    case 1:\n        {}",
    ],
    ids=["with", "else", "except", "finally", "case"],
)
def test_an_import_counts_wherever_it_is(place: str, script: Path) -> None:
    script.write_text(place.format("import gptsmith.unused") + "\n")
    before = version(script)
    edit(script.parent / "gptsmith" / "unused.py", "1", "2")
    assert version(script) != before


@pytest.mark.parametrize("line", ['def h(x): "doc"', '"doc"; x = 1', '"doc" + x'])
def test_code_on_the_line_of_a_docstring_counts(line: str, script: Path) -> None:
    edit(script, "def main():", f"{line}\n\n\ndef main():")
    before = version(script)
    edit(script, line, line.replace("x", "y"))
    assert version(script) != before


def test_lines_are_those_of_python(script: Path) -> None:
    """Unicode has more line ends than Python; one in a string must not shift what is cut out."""
    edit(script, "    f()  # call it", '    f("\u2028\x0c\x85")\n    f()  # call it')
    before = version(script)
    edit(script, "# call it", "# call it again")
    assert version(script) == before
    edit(script, '    """Its main function."""', '    """Its main\n    function."""')
    assert version(script) == before
    edit(script, "    f()", "    main()")
    assert version(script) != before


def test_touching_and_reverting_count_for_nothing(script: Path) -> None:
    before, module = version(script), script.parent / "gptsmith" / "deep.py"
    os.utime(module, (1, 1))
    assert version(script) == before
    edit(module, "return x", "return 2 * x")
    edit(module, "return 2 * x", "return x")
    assert version(script) == before


def test_the_place_of_the_project_does_not_count(
    script: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, elsewhere = version(script), tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(script.parent, elsewhere, dirs_exist_ok=True)
    monkeypatch.setattr(code_version, "PACKAGE_FOLDER", elsewhere / "gptsmith")
    assert version(elsewhere / "script.py") == before


@pytest.mark.parametrize(("library", "counts"), [("numpy", True), ("torch", False)])
def test_a_library_counts_where_it_is_imported(
    script: Path, library: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, installed = version(script), importlib.metadata.version

    def upgraded(name: str) -> str:
        return "99.0" if name == library else installed(name)

    monkeypatch.setattr(importlib.metadata, "version", upgraded)
    assert (version(script) != before) == counts


LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}


def tokens_that_count(source: str) -> list[str]:
    """What Python's own tokenizer finds in `source`, without comments, docstrings and line ends."""
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in LAYOUT]
    lines = itertools.groupby(tokens, key=lambda token: token.type == tokenize.NEWLINE)
    counting = [list(line) for is_end, line in lines if not is_end]
    return [token.string for line in counting if [t.type for t in line] != [tokenize.STRING] for token in line]


@pytest.mark.parametrize("folder", ["src", "workflow", "tests"])
def test_what_counts_is_what_python_reads(folder: str) -> None:
    """Every token but those of comments and docstrings, and nothing else."""
    for file in (ROOT / folder).rglob("*.py"):
        essential = code_version._essential_source(file).decode()
        assert tokens_that_count(essential) == tokens_that_count(file.read_text()), file
        comments = [t for t in tokenize.generate_tokens(io.StringIO(essential).readline) if t.type == tokenize.COMMENT]
        assert comments == [], file


# ---- the real scripts ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    """Of every script of the workflow."""
    forget()
    return {script.stem: code_version.code_version(script) for script in SCRIPTS}


def test_every_script_has_a_version_of_its_own(versions: dict[str, str]) -> None:
    assert len(versions) > 15
    assert len(set(versions.values())) == len(versions)


@pytest.mark.parametrize(
    ("module", "reruns", "spared"),
    [
        ("model/attention.py", {"pretrain", "finetune", "predict", "generate"}, {"download", "prepare", "evaluate"}),
        ("tokenizer/bpe.py", {"train_tokenizer", "tokenize_dataset", "finetune"}, {"download", "prepare", "summarize"}),
        ("report/charts.py", {"report"}, {script.stem for script in SCRIPTS} - {"report"}),
    ],
)
def test_an_edit_reruns_the_stages_that_use_it(
    module: str,
    reruns: set[str],
    spared: set[str],
    versions: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "gptsmith"
    shutil.copytree(code_version.PACKAGE_FOLDER, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / module).write_text((package / module).read_text() + "\nNEW = 1\n")
    monkeypatch.setattr(code_version, "PACKAGE_FOLDER", package)
    forget()
    changed = {script.stem for script in SCRIPTS if code_version.code_version(script) != versions[script.stem]}
    forget()
    assert reruns <= changed
    assert not spared & changed
