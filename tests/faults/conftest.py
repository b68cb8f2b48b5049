from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with serving(server.http):
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "file"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where tests keep what is not to be mistaken for leftovers."""
    return tmp_path
