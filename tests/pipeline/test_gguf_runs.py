"""Runs that start from a GGUF file: its weights, its tokenizer and its chat format."""

import os
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from gptsmith.checkpoint.configuration import read_architecture
from gptsmith.config.models import HuggingFace
from gptsmith.files import read_json, sha256_of
from gptsmith.tokenizer.files import read_conventions
from gptsmith.tokenizer.gguf import extract_tokenizer
from tests.gguf_files import tiny_llama, write_gguf

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.slow

TASKS = {"finetune": 2, "predict": 1, "generate": 1, "generate_before": 1, "evaluate": 2}
AFTER_THE_FILE = {"gguf_tokenizer": 1, "convert_gguf": 1, "verify_weights": 1, "tokenize": 2, **TASKS}


def gguf_config(config: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """The tiny config with its one model from a GGUF file."""
    config["tokenizers"] = {"of-file": {"gguf": "tiny"}}
    config["models"] = {"tiny": {"tokenizer": "of-file", "gguf": [source]}}
    config["datasets"]["questions"]["prompt"] = "chat"
    return config


def test_both_tasks_start_from_a_gguf_file(project: "Project") -> None:
    file, base = project.folder / "model.gguf", project.folder / "checkpoints" / "base" / "tiny"
    write_gguf(file, tiny_llama(max_position_embeddings=256))
    project.write_config(gguf_config(project.config(), {"path": "model.gguf"}))
    project.run()
    assert project.planned() == {}
    assert read_json(base / "verification.json")["transformers"]
    assert read_architecture(base).activation == "swiglu"
    answered = project.folder / "checkpoints" / "finetuned" / "tiny" / "assistant" / "seed-1"
    assert read_conventions(answered).end_of_text == "<|im_end|>"
    page = (project.folder / "results" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "imported from the file model.gguf" in page
    assert "byte-level BPE, from the GGUF file of tiny" in page

    # Another file in its place, older than what was made of it.
    write_gguf(file, tiny_llama(max_position_embeddings=128))
    os.utime(file, (10**9, 10**9))
    assert project.planned().items() >= AFTER_THE_FILE.items()
    # The same model packed into an archive is taken out of it first.
    with zipfile.ZipFile(project.folder / "model.zip", "w") as archive:
        archive.write(file, "inside/model.gguf")
    source = {"path": "model.zip", "member": "inside/model.gguf", "sha256": sha256_of(file)}
    project.write_config(gguf_config(project.config(), source))
    project.run("checkpoints/base/tiny/verification.json")
    assert read_architecture(base).context_length == 128
    assert sha256_of(project.folder / "checkpoints" / "downloads" / "tiny" / "model.gguf") == sha256_of(file)


def test_what_is_wrong_with_the_file_is_said_plainly(project: "Project") -> None:
    project.write_config(gguf_config(project.config(), {"path": "model.gguf"}))
    missing = project.snakemake("--dry-run")
    assert "models.tiny.gguf: no such file: model.gguf" in missing.stderr
    write_gguf(project.folder / "model.gguf", tiny_llama(), keys={"llama.rope.scaling.type": "yarn"})
    refused = project.snakemake("checkpoints/base/tiny/model.safetensors")
    assert refused.stderr.rstrip().endswith("'llama.rope.scaling.type' is 'yarn'; only 'none' can be loaded")
    write_gguf(project.folder / "model.gguf", tiny_llama(), keys={"tokenizer.ggml.model": "llama"})
    refused = project.snakemake("checkpoints/base/tiny/model.safetensors")
    assert "a tokenizer of the kind 'llama' (SentencePiece); only byte-level BPE" in refused.stderr


def test_llamas_of_transformers_are_imported_from_a_folder_and_from_the_hub(project: "Project") -> None:
    """With the tokenizer's published files, whose conventions the config says."""
    model = tiny_llama(tie_word_embeddings=False)
    model.save_pretrained(project.folder / "theirs")
    write_gguf(project.folder / "model.gguf", model)
    extract_tokenizer(project.folder / "model.gguf", project.folder / "published")
    conventions = read_json(project.folder / "published" / "tokenizer_settings.json")
    weights = project.folder / "theirs" / "model.safetensors"
    hub = HuggingFace(repo="some/llama", revision="0" * 40, sha256=sha256_of(weights))
    mirrored = project.folder / "mirror" / hub.url.removeprefix("https://")
    mirrored.parent.mkdir(parents=True)
    shutil.copy(weights, mirrored)
    config = project.config()
    config["execution"]["mirror"] = "mirror"
    config["tokenizers"] = {
        "published": {
            "vocab": [{"path": "published/vocab.json"}],
            "merges": [{"path": "published/merges.txt"}],
            "conventions": conventions,
        }
    }
    shape = read_architecture(project.folder / "theirs").model_dump(mode="json")
    config["models"] = {
        "tiny": {"tokenizer": "published", "path": "theirs"},
        "hub": {"tokenizer": "published", "architecture": shape, "huggingface": hub.model_dump()},
    }
    del config["runs"]["assistant"]
    config["runs"]["spam"]["model"] = "hub"
    project.write_config(config)
    verifications = [f"checkpoints/base/{name}/verification.json" for name in ("tiny", "hub")]
    project.run("spam", *verifications)
    assert all(read_json(project.folder / file)["transformers"] for file in verifications)
    assert project.planned("spam", *verifications) == {}
