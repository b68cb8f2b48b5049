"""The blocks of README and docs do what they say: run in order, or tagged with the reason why not.

They run on the starter's config with the same names, made small: one run of each kind, a model of some thousand
parameters, a part of the instructions, and synthetic messages in place of the download, so no network is needed. The
environment of the tests stands for the one that `make` installs, and a folder for what is anybody's own (a repository,
a remote).
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from pydantic import ValidationError
from test_own_data import write_excel_csv

from gptsmith.config.load import Config
from tests.pipeline.conftest import write_messages

ROOT = Path(__file__).parents[2]
RUN_ELSEWHERE = {"docs/extending.md": "tests/pipeline/test_extending.py"}
OTHERS = sorted(
    page for pattern in ("*.md", "docs/*.md", "config/*.md") for file in ROOT.glob(pattern)
    if (page := file.relative_to(ROOT).as_posix()) not in ("README.md", "CHANGELOG.md", *RUN_ELSEWHERE)
)  # fmt: skip
PAGES = ["README.md", *OTHERS]
"""In the order in which they are followed: what the README has made is there for the others."""

RUN = ("bash", "sh", "python")
KINDS = (*RUN, "yaml", "output", "text")
REASONS = {
    "needs a model hub",
    "needs a cluster",
    "needs a GPU",
    "takes long",
    "is the test suite itself",
}

FENCE = re.compile(r"^```(?P<kind>\S*)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TAG = re.compile(r"\*Not run by the tests: (.+)\.\*\n\n?\Z")

PARTS = ("Snakefile", "workflow", "profiles", "src", "config", "resources", "Makefile", "pyproject.toml", ".dvc")
PARTS += (".gitignore", ".dvcignore", "README.md", *(file.name for file in ROOT.glob("requirements*.txt")))
COMMITTER = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in
             (("NAME", "Somebody"), ("EMAIL", "somebody@example.org"))}  # fmt: skip
TYPED = "Repeat the word: pear\n/exit\n"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    heading: str
    kind: str
    content: str
    reason: str | None
    """Why it is not run."""


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        # A comment in a block of commands looks like a heading.
        before = FENCE.sub("", text[: fence.start()])
        tag = TAG.search(text[: fence.start()])
        heading = HEADING.findall(before)[-1]
        found.append(Block(page, heading, fence["kind"], fence["content"], tag and tag[1]))
    return found


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_what_is_not_run_here_is_run_there(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_each_block_is_run_or_says_why_not(page: str) -> None:
    blocks = blocks_of(page)
    assert (ROOT / page).read_text(encoding="utf-8").count("```") == 2 * len(blocks)
    for block in blocks:
        assert block.kind in KINDS, block
        assert block.reason is None or (block.reason in REASONS and block.kind in RUN), block


CONFIGS = [block for page in PAGES for block in blocks_of(page) if block.kind == "yaml"]


@pytest.mark.parametrize("block", CONFIGS, ids=[f"{block.page}: {block.heading}" for block in CONFIGS])
def test_configs_are_valid(block: Block) -> None:
    """A whole config (one with a name), or a part of one: then over the starter's. `...` leaves something out."""
    part = yaml.safe_load(block.content)
    config = part if "name" in part else merged(yaml.safe_load((ROOT / "config.yaml").read_text()), part)
    try:
        Config.model_validate(without_ellipses(config))
    except ValidationError as error:
        problems = [one for one in error.errors() if one["type"] != "missing" or "..." not in block.content]
        assert not problems, block


def merged(config: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return config | {
        key: merged(config[key], value) if isinstance(value, dict) and isinstance(config.get(key), dict) else value
        for key, value in part.items()
    }


def without_ellipses(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: without_ellipses(value) for key, value in config.items() if key != "..."}
    return config


@dataclass(frozen=True)
class Reader:
    """Somebody who follows a page in a clone of the project, block by block."""

    folder: Path
    outside: Path
    """For what is not in the project: tools, the repository it was cloned from, a remote."""
    ports: dict[str, str] = field(default_factory=lambda: {port: free_port() for port in ("8000", "8001")})
    """Of this machine, for those in the docs."""
    outputs: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        first = [self.outside / "tools", self.folder / ".venv" / "bin"]
        return os.environ | COMMITTER | {
            "PATH": os.pathsep.join([*map(str, first), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder / "src"),
            "NO_COLOR": "1",
            "PIP_NO_INDEX": "1",
            "HF_HUB_OFFLINE": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_EDITOR": "true",
            **{name: str(self.outside / name) for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR")},
        }  # fmt: skip

    def run(self, script: str, folder: Path | None = None) -> str:
        """What the commands print. The first that fails fails the test."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder or self.folder,
            env=self.environment(),
            input=TYPED,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{script}\n{result.stdout}"
        return result.stdout

    def own(self, content: str) -> str:
        """`content` with what stands for the reader's own."""
        for words in ("<the repository>", "<this repository>"):
            content = content.replace(words, shlex.quote(str(self.outside / "gptsmith")))
        content = content.replace("<an older commit>", "HEAD~1").replace("/mnt/shared", str(self.outside))
        for port, free in self.ports.items():
            content = re.sub(rf"((?:127\.0\.0\.1|localhost):|--port ){port}", rf"\g<1>{free}", content)
        return content

    def change_config(self, part: dict[str, Any]) -> None:
        """Written without anchors and with gaps, so that git can merge changes in two sections."""
        config = json.loads(json.dumps(merged(yaml.safe_load((self.folder / "config.yaml").read_text()), part)))
        sections = [yaml.safe_dump({key: value}, sort_keys=False) for key, value in config.items()]
        (self.folder / "config.yaml").write_text("\n\n\n".join(sections))


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


MAKE = """#!/bin/sh
# Instead of installing: the environment of the tests.
[ -e .venv ] || cp --recursive --no-dereference {environment} .venv
touch .venv/run.stamp .venv/dev.stamp
exec {make} "$@"
"""


def make_tools(folder: Path) -> None:
    """A `make` that takes the environment of the tests for the one it would install."""
    environment, tools = folder / "environment", folder / "tools"
    (environment / "bin").mkdir(parents=True)
    tools.mkdir()
    prefix = Path(sys.prefix)
    for part in ("lib", "lib64", "pyvenv.cfg"):
        if (prefix / part).exists():
            (environment / part).symlink_to(prefix / part)
    for program in (prefix / "bin").iterdir():
        (environment / "bin" / program.name).symlink_to(program)
    # The commands of the copy's own package.
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        program = environment / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
        program.chmod(0o755)
    (tools / "make").write_text(MAKE.format(environment=shlex.quote(str(environment)), make=shutil.which("make")))
    (tools / "make").chmod(0o755)


def shrunk_starter() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    del config["runs"]["spam-without-pretraining"]
    config["datasets"]["sms-starter"] |= {"sources": [{"path": "sms.csv"}], "label": "label", "labels": ["ham", "spam"]}
    config["datasets"]["instructions-starter"]["mechanical"] = {"train": 4, "validation": 1, "test": 1}
    config["tokenizers"]["starter-bpe"]["vocab_size"] = 320
    for model in config["models"].values():
        model["architecture"] |= {"d_model": 16, "n_layers": 2, "n_heads": 2, "context_length": 256}
    config["models"]["starter"]["pretrain"]["training"]["epochs"] = 0.1
    for run in config["runs"].values():
        run["training"] |= {"epochs": 0.2, "evaluations": 1}
    config["runs"]["spam"]["seeds"] = [1]
    config["runs"]["assistant"]["generation"]["max_new_tokens"] = 4
    return config | {"evaluation": {"bootstrap_samples": 50}}


@pytest.fixture(scope="module")
def after_readme(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Who has read the README and done what it says."""
    outside = tmp_path_factory.mktemp("outside")
    reader = Reader(tmp_path_factory.mktemp("documented") / "gptsmith", outside)
    reader.folder.mkdir()
    make_tools(outside)
    for part in PARTS:
        source, target = ROOT / part, reader.folder / part
        if source.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
            shutil.copytree(source, target, ignore=leave_out)
        else:
            shutil.copy(source, target)
    instructions = reader.folder / "resources" / "starter-instructions.jsonl"
    instructions.write_text("".join(instructions.read_text().splitlines(keepends=True)[:40]))
    write_messages(reader.folder / "sms.csv")
    (reader.folder / "config.yaml").write_text("{}")
    reader.change_config(shrunk_starter())
    write_own_files(reader.folder)
    reader.run(
        "git init --quiet --initial-branch main && git add . && git commit --quiet --message 'The code' &&"
        f" git clone --quiet --bare . {shlex.quote(str(outside / 'gptsmith'))} &&"
        f" git remote add origin {shlex.quote(str(outside / 'gptsmith'))} && git push --quiet -u origin main"
    )
    follow(reader, "README.md")
    return reader


def write_own_files(folder: Path) -> None:
    write_messages(folder / "messages.csv")
    rows = [line.split(",", 1) for line in (folder / "messages.csv").read_text().splitlines()[1:]]
    (folder / "messages.csv").write_text("body,category\n" + "".join(f"{text},{label}\n" for label, text in rows))
    (folder / "messages.txt").write_text("win a prize now\nsee you at six\n")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None or shutil.which("make") is None, reason="git or make is not installed")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.kind in RUN and not block.reason for block in blocks_of(page))]
)
def test_the_blocks_of_a_page(after_readme: Reader, page: str) -> None:
    if page != "README.md":  # which the fixture has followed
        follow(after_readme, page)


def follow(reader: Reader, page: str) -> None:
    """Run the page's blocks."""
    with servers(reader) as serve:
        done = set()
        for block in blocks_of(page):
            if block.heading not in done and (prepare := BEFORE.get((page, block.heading))):
                prepare(reader)
            done.add(block.heading)
            if block.reason is None:
                follow_block(reader, block, serve)


def follow_block(reader: Reader, block: Block, serve: Callable[[str], None]) -> None:
    content = reader.own(block.content)
    match block.kind:
        case "python":
            reader.outputs.append(reader.run(f"python - <<'END'\n{content}END"))
        case "bash" | "sh":
            lines = content.splitlines()
            reader.outputs.append("")
            # `make test` is what this is a part of.
            if commands := [line for line in lines if not line.startswith(("gptsmith serve ", "make test"))]:
                away = reader.outside / "elsewhere" if content.startswith("git clone") else None
                if away is not None:
                    away.mkdir(exist_ok=True)
                    shutil.rmtree(away / "gptsmith", ignore_errors=True)
                reader.outputs.append(reader.run("\n".join(commands), away))
            if "# Nothing to be done" in content:
                assert "Nothing to be done" in reader.outputs[-1]
            for line in lines:
                if line.startswith("gptsmith serve "):
                    serve(line)
        case "yaml" if content != block.content:  # it names something of the reader's own
            reader.change_config(yaml.safe_load(content))
        case "output":
            printed = iter(without_numbers(reader.outputs[-1]))
            for line in without_numbers(content):
                assert line in printed, f"{block.page}: {line}\n{reader.outputs[-1]}"
    if block.kind in RUN and (check := AFTER.get((block.page, block.heading))):
        check(reader)


def without_numbers(text: str) -> list[str]:
    """Lines without their numbers and the spaces around, durations in whatever unit."""
    return [re.sub(r"\d[\d.,]*( seconds| minutes| hours)?", "#", line.strip()) for line in text.splitlines() if line]


@contextmanager
def servers(reader: Reader) -> Iterator[Callable[[str], None]]:
    """A function that starts `gptsmith serve ...` and waits until it answers; all of them end with the page."""
    started: list[subprocess.Popen[str]] = []

    def serve(command: str) -> None:
        port = reader.ports["8000"]
        if "--port" in command:
            port = command.split("--port ")[1].split()[0]
        else:
            command += f" --port {port}"
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=reader.folder, env=reader.environment(), text=True
        )
        started.append(process)
        for _ in range(600):
            assert process.poll() is None, command
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=30).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        pytest.fail(f"{command}: no answer")

    try:
        yield serve
        for process in started:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) in (0, 130, -signal.SIGINT)
    finally:
        for process in started:
            process.kill()


def files_of_own_data(reader: Reader) -> None:
    (reader.folder / "messages.yaml").unlink()
    write_excel_csv(reader)  # type: ignore[arg-type]


def first_version(reader: Reader) -> None:
    """There is an earlier version, and something has been changed since."""
    reader.run("git add '*.dvc' results/starter && git commit --quiet --message 'The first run'")
    reader.change_config({"evaluation": {"bootstrap_samples": 60}})


def two_people_ran(reader: Reader) -> None:
    """Somebody else has started from the first version, changed something else, and pushed it."""
    reader.run("git checkout --quiet -b other HEAD~1 && .venv/bin/dvc checkout --quiet")
    remote = {"versions": {"remote": str(reader.outside / "versions")}}
    reader.change_config({"execution": remote, "runs": {"assistant": {"generation": {"max_new_tokens": 5}}}})
    reader.run(
        "make run && git add '*.dvc' results/starter config.yaml && git commit --quiet --message 'Another run' &&"
        " .venv/bin/snakemake --cores 1 push && git checkout --quiet main && .venv/bin/dvc checkout --quiet"
    )
    result = subprocess.run(["git", "merge", "other"], cwd=reader.folder, env=reader.environment(), check=False)
    assert result.returncode


def same_number_twice(reader: Reader) -> None:
    pairs = [line.split() for line in reader.outputs[-1].splitlines()[-3:]]
    for left, right in pairs:
        assert float(left) == pytest.approx(float(right))


BEFORE: dict[tuple[str, str], Callable[[Reader], None]] = {
    ("docs/own-data.md", "Your own data"): files_of_own_data,
    ("docs/versions.md", "From nothing to a colleague's clone"): first_version,
    ("docs/versions.md", "When two people ran"): two_people_ran,
}
AFTER: dict[tuple[str, str], Callable[[Reader], None]] = {
    ("docs/evaluation.md", "What the figures mean"): same_number_twice,
}
