"""The shipped GPT-2 configs on a tiny GPT-2: published files, served over HTTP, to a report; and base models
that come from a folder, or from plain text.

The weights are random, in the layout that openai-community publishes. Everything else of a config is as
shipped: the data, the tokenizer and their checksums too where ../shared/mirror is present.
"""

import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, GPT2Tokenizer

from gptsmith.config.models import HuggingFace
from gptsmith.files import sha256_of
from gptsmith.tokenizer.fast import load_tokenizer

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MIRROR = ROOT.parent / "shared" / "mirror"
VERDICT = MIRROR / "raw.githubusercontent.com/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt"
TINY = {"d_model": 16, "n_layers": 2, "n_heads": 2}


# The mirror


@dataclass(frozen=True)
class Published:
    """A project with configs that are shrunk, and a server that has all their files and is asked for everything."""

    project: "Project"
    mirror: Path
    url: str
    requests: list[str]
    """What the server was asked for, in order: method and path."""

    def snakemake(self, config: str, *targets: str) -> None:
        """Run the pipeline, with the server as the proxy too: no host can be asked behind its back."""
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self.url)
        direct = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")
        result = self.project.snakemake(*targets, "--configfile", config, **proxies, **direct)
        assert result.returncode == 0, result.stdout + result.stderr


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder` on the loopback interface: its address, and a list that every request is added to."""
    requests: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            requests.append(f"{self.command} {self.path}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


def mirror_path(url: str) -> str:
    return url.removeprefix("https://")


def publish_data(config: dict[str, Any], mirror: Path, vocabulary: Path) -> None:
    """Put what the first sources of `config` name into `mirror`; data that are not to be had are made up."""
    messages, instructions = (config["datasets"][name]["sources"] for name in ("sms-spam", "instructions"))
    for sources, make in ((messages, write_messages), (instructions, write_instructions)):
        path = mirror_path(sources[0]["url"])
        (mirror / path).parent.mkdir(parents=True, exist_ok=True)
        if (MIRROR / path).is_file():
            shutil.copyfile(MIRROR / path, mirror / path)
        else:
            sha256 = make(mirror / path)
            for source in sources:
                source["sha256"] = sha256
    for key, file in (("vocab", "vocab.json"), ("merges", "merges.txt")):
        place = mirror / mirror_path(config["tokenizers"]["gpt2"][key][0]["url"])
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(vocabulary / file, place)


def write_messages(path: Path) -> str:
    """A zip of synthetic messages, a third of them spam; returns the member's SHA-256."""
    lines = [f"spam\tWIN a {n} pound prize, call 0800{n:04} now" for n in range(400)]
    lines += [f'ham\tsee you at "{n % 12}", it\'s about number {n}' for n in range(800)]
    member = path.with_name("SMSSpamCollection")
    member.write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(member, member.name)
    return sha256_of(member)


def write_instructions(path: Path) -> str:
    entries = [{"instruction": f"Add 1 to {n}.", "input": "", "output": f"It is {n + 1}."} for n in range(100)]
    entries += [{"instruction": "Repeat it.", "input": f"word {n}", "output": f"word {n}"} for n in range(100)]
    path.write_text(json.dumps(entries))
    return sha256_of(path)


def tiny_gpt2(**shape: Any) -> GPT2LMHeadModel:
    """A GPT-2 whose every weight is random, so that none can be lost unnoticed."""
    generator = torch.Generator().manual_seed(7)
    model = GPT2LMHeadModel(GPT2Config(**{"n_embd": 16, "n_layer": 2, "n_head": 2} | shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def publish_weights(model: GPT2LMHeadModel, path: Path) -> str:
    """Write the trunk's tensors without a prefix, and the causal masks among them; returns the SHA-256."""
    tensors = {name: tensor.contiguous() for name, tensor in model.transformer.state_dict().items()}
    context = model.config.n_positions
    for block in range(model.config.n_layer):
        tensors[f"h.{block}.attn.bias"] = torch.ones(context, context).tril().view(1, 1, context, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})
    return sha256_of(path)


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory, new_project: "Callable[[Path], Project]", gpt2_vocabulary: Path
) -> Iterator[Published]:
    """Both configs on a tiny model and a few steps, in a project that nothing has run in yet."""
    folder = tmp_path_factory.mktemp("gpt2")
    mirror, project = folder / "mirror", new_project(folder / "my project")
    with served(mirror) as (url, requests):
        for name in ("gpt2-small", "gpt2-medium"):
            config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
            publish_data(config, mirror, gpt2_vocabulary)
            model = config["models"][name]
            model["architecture"] = TINY
            weights = mirror / mirror_path(HuggingFace(**model["huggingface"]).url)
            model["huggingface"]["sha256"] = publish_weights(tiny_gpt2(), weights)
            for run, epochs, rate in (("spam", 1, 0.005), ("assistant", 0.02, 0.001)):
                config["runs"][run]["training"] |= {"epochs": epochs, "learning_rate": rate, "evaluations": 1}
            config["runs"]["assistant"]["generation"]["max_new_tokens"] = 5
            config["evaluation"] = {"bootstrap_samples": 50}
            config["execution"] = {"mirror": url, "threads": 1}
            (project.folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        yield Published(project, mirror, url, requests)


def load_all(kind: Any, folder: Path) -> Any:
    """A model of transformers from `folder`, no weight of which is missing or left over."""
    model, loading = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    return model.eval()


# gpt2-small.yaml


@pytest.fixture(scope="module")
def small(published: Published) -> Published:
    """`published` after a whole run of gpt2-small.yaml."""
    published.snakemake("gpt2-small.yaml")
    return published


def test_a_report_is_made_of_published_files_alone(small: Published) -> None:
    config = yaml.safe_load((ROOT / "config/gpt2-small.yaml").read_text())
    sources = [*(dataset["sources"] for dataset in config["datasets"].values()), *config["tokenizers"]["gpt2"].values()]
    urls = [places[0]["url"] for places in sources]
    urls.append(HuggingFace(**config["models"]["gpt2-small"]["huggingface"]).url)
    assert sorted(small.requests) == sorted(f"GET /{mirror_path(url)}" for url in urls)

    results = small.project.folder / "results/gpt2-small"
    assert "gpt2-small" in (results / "report.html").read_text()
    assert json.loads((results / "metrics.json").read_text())


def test_a_second_run_does_nothing(small: Published) -> None:
    assert small.project.planned("--configfile", "gpt2-small.yaml") == {}


def test_the_published_data_are_counted(small: Published) -> None:
    if not MIRROR.is_dir():
        pytest.skip("the other tests of gpt2-small.yaml ran on synthetic data: ../shared/mirror is missing")
    messages, instructions = (
        json.loads((small.project.folder / "data/prepared" / name / "report.json").read_text())
        for name in ("sms-spam", "instructions")
    )
    assert messages["rows_read"] == 5574
    # 5,574 - 414 leave 5,160 messages, 642 of them spam.
    assert messages["dropped"] == {"duplicate": 414, "undersampled": 5160 - 2 * 642}
    classes = [split["labels"] for split in messages["splits"].values()]
    assert [sum(labels[name] for labels in classes) for name in ("ham", "spam")] == [642, 642]
    assert messages["conflicting_labels"] == 0
    assert instructions["rows_read"] == 1100
    assert instructions["rows"] == 1075
    for report in (messages, instructions):
        assert set(report["overlaps"].values()) == {0}


def test_the_base_model_is_the_published_one(small: Published) -> None:
    folder = small.project.folder / "checkpoints/base/gpt2-small"
    assert json.loads((folder / "verification.json").read_text())["relative"] < 1e-4
    model = load_all(GPT2LMHeadModel, folder)
    [file] = small.mirror.glob("huggingface.co/openai-community/gpt2/resolve/*/model.safetensors")
    tensors = {name: tensor for name, tensor in load_file(file).items() if not name.endswith(".attn.bias")}
    found = model.transformer.state_dict()
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def assert_transformers_predicts_the_same(folder: Path, name: str) -> None:
    """transformers, given the fine-tuned folder and 20 test messages from the shortest to the longest,
    finds the probabilities in predictions.parquet."""
    checkpoint = folder / f"checkpoints/finetuned/{name}/spam/seed-123"
    predictions = pd.read_parquet(folder / f"results/{name}/spam/seed-123/predictions.parquet")
    rows = predictions[predictions.split == "test"].sort_values("text", key=lambda texts: texts.str.len())
    rows = rows.iloc[np.linspace(0, len(rows) - 1, 20).astype(int)]

    tokenizer = GPT2Tokenizer.from_pretrained(checkpoint, pad_token="<|endoftext|>", padding_side="right")
    encoded = tokenizer(rows.text.tolist(), padding=True, truncation=True, max_length=120, return_tensors="pt")
    model = load_all(GPT2ForSequenceClassification, checkpoint)
    with torch.no_grad():
        probabilities = model(**encoded).logits.softmax(dim=-1).numpy()

    columns = [f"probability_{label}" for _, label in sorted(model.config.id2label.items())]
    np.testing.assert_allclose(rows[columns].to_numpy(), probabilities, atol=1e-5)
    # Else any model would have passed.
    assert np.ptp(probabilities[:, 0]) > 0.01


def test_transformers_predicts_the_same_as_the_fine_tuned_classifier(small: Published) -> None:
    assert_transformers_predicts_the_same(small.project.folder, "gpt2-small")


def test_transformers_answers_the_same_as_the_fine_tuned_assistant(small: Published) -> None:
    folder = small.project.folder
    checkpoint = folder / "checkpoints/finetuned/gpt2-small/assistant/seed-123"
    model = load_all(GPT2LMHeadModel, checkpoint)
    tokenizer = load_tokenizer(checkpoint, "gpt2")
    tokens = pd.read_parquet(folder / "data/tokens/gpt2/instructions/test.parquet").set_index("id")
    lines = (folder / "results/gpt2-small/assistant/seed-123/responses.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines[:: len(lines) // 10]]
    for answer in answers:
        row = tokens.loc[answer["id"]]
        prompt = torch.from_numpy(row.input_ids[: row.prompt_length].astype(np.int64))[None]
        generated = model.generate(prompt, max_new_tokens=5, do_sample=False)[0, prompt.shape[1] :]
        response = [token for token in generated.tolist() if token != tokenizer.end_of_text]
        assert tokenizer.decode(response) == answer["response"]
    # Else any prompt would have done.
    assert len({answer["response"] for answer in answers}) > 1


def test_a_further_seed_takes_what_the_frozen_blocks_made(small: Published) -> None:
    folder = small.project.folder
    config = yaml.safe_load((folder / "gpt2-small.yaml").read_text())
    config["runs"]["spam"]["seeds"] = [123, 124]
    (folder / "two-seeds.yaml").write_text(yaml.safe_dump(config))
    further = {"finetune": 1, "predict": 1, "evaluate": 1, "summarize": 1, "spam": 1}
    assert small.project.planned("spam", "--configfile", "two-seeds.yaml") == further
    # They are a cache: deleted, they are missed only where something has to be trained.
    cache = folder / "cache"
    cache.rename(folder / "elsewhere")
    assert small.project.planned("--configfile", "gpt2-small.yaml") == {}
    assert small.project.planned("spam", "--configfile", "two-seeds.yaml")["trunk_features"] == 3
    (folder / "elsewhere").rename(cache)


# gpt2-medium.yaml


def test_the_medium_config_adds_lora_to_what_the_small_one_made(small: Published) -> None:
    project, already = small.project, len(small.requests)
    expected = ["download_weights", "convert_weights", "finetune_lora", "predict", "evaluate", "baselines", "summarize"]
    assert project.planned("spam", "--configfile", "gpt2-medium.yaml") == dict.fromkeys([*expected, "spam"], 1)
    small.snakemake("gpt2-medium.yaml", "spam")
    [file] = small.mirror.glob("huggingface.co/openai-community/gpt2-medium/resolve/*/model.safetensors")
    assert small.requests[already:] == [f"GET /{file.relative_to(small.mirror).as_posix()}"]

    folder = project.folder
    checkpoint = folder / "checkpoints/finetuned/gpt2-medium/spam/seed-123"
    adapter = load_file(checkpoint / "adapter.safetensors")
    provenance = json.loads((folder / "results/gpt2-medium/spam/seed-123/provenance.json").read_text())
    head = 2 * TINY["d_model"]
    assert provenance["trainable_parameters"] == head + sum(tensor.numel() for tensor in adapter.values())
    assert all(tensor.any() for tensor in adapter.values())
    # What the adapters learned is in the merged weights; everything else is as it was.
    base, merged = (
        load_file(path / "model.safetensors") for path in (folder / "checkpoints/base/gpt2-medium", checkpoint)
    )
    changed = {name.removeprefix("transformer.h.") for name in base if not torch.equal(base[name], merged[name])}
    adapted = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert changed == {f"{block}.{layer}.weight" for block in range(2) for layer in adapted}
    assert_transformers_predicts_the_same(folder, "gpt2-medium")


# Models from a folder


def test_a_run_starts_from_a_folder_of_transformers_or_of_an_earlier_run(
    finished_project: "Project", tmp_path: Path
) -> None:
    folder = tmp_path / "my project"
    shutil.copytree(finished_project.folder, folder, symlinks=True)
    project = type(finished_project)(folder)
    config = project.config()
    earlier = f"checkpoints/finetuned/{config['name']}/assistant/seed-1"
    theirs = tiny_gpt2(vocab_size=300, n_positions=64, bos_token_id=299, eos_token_id=299)
    theirs.save_pretrained(folder / "from transformers")
    config["models"] = {
        "theirs": {"tokenizer": "tiny-bpe", "path": "from transformers"},
        "earlier": {"tokenizer": "tiny-bpe", "path": str(folder / earlier)},
    }
    config["name"] = "continued"
    config["runs"]["spam"]["model"] = "theirs"
    config["runs"]["assistant"]["model"] = "earlier"
    project.write_config(config)
    project.run("spam", "checkpoints/finetuned/continued/assistant/seed-1/model.safetensors", *verifications(config))

    for name, original in (("theirs", folder / "from transformers"), ("earlier", folder / earlier)):
        base = folder / "checkpoints/base" / name
        assert json.loads((base / "verification.json").read_text())["relative"] < 1e-4
        found, expected = (load_file(path / "model.safetensors") for path in (base, original))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[tensor], expected[tensor]) for tensor in found)
    assert json.loads((folder / "results/continued/spam/summary.json").read_text())["model"] == "theirs"
    # It went on from there: what was learned before is the loss it starts with.
    before, after = (
        pd.read_parquet(folder / f"results/{name}/assistant/seed-1/history.parquet").query("split == 'validation'").loss
        for name in ("tiny", "continued")
    )
    assert after.iloc[0] == pytest.approx(before.min(), rel=1e-5)


def verifications(config: dict[str, Any]) -> list[str]:
    return [f"checkpoints/base/{model}/verification.json" for model in config["models"]]


# Plain text


def test_plain_text_is_pretrained_on_in_overlapping_windows(project: "Project") -> None:
    story = "".join(f"Line {n} of a synthetic story says that {n % 7} comes after {n % 5}.\n" for n in range(300))
    if VERDICT.is_file():
        story = VERDICT.read_text()
    (project.folder / "my story.txt").write_text(story)
    config = project.config()
    config["datasets"]["story"] = {"task": "text", "sources": [{"path": "my story.txt"}], "format": {"type": "text"}}
    config["tokenizers"]["story-bpe"] = {"train_on": ["story"], "vocab_size": 400}
    config["models"]["narrator"] = {
        "tokenizer": "story-bpe",
        "architecture": TINY | {"context_length": 64},
        "pretrain": {
            "datasets": ["story"],
            "window": 32,
            "stride": 16,
            "training": {"epochs": 2, "learning_rate": 0.01, "evaluations": 4},
        },
    }
    project.write_config(config)
    target = "checkpoints/base/narrator/model.safetensors"
    jobs = ("prepare", "train_tokenizer", "tokenize", "pretrain")
    assert project.planned(target) == dict.fromkeys(jobs, 1)
    project.run(target)

    history = pd.read_parquet(project.folder / "checkpoints/base/narrator/history.parquet")
    losses = history[history.split == "validation"].loss.to_list()
    assert len(losses) == 5
    # From about the loss of an even guess to well below.
    assert losses[0] == pytest.approx(np.log(400), rel=0.1)
    assert losses[-1] < 0.9 * losses[0]
    # Windows of 32 that begin 16 apart: but for the ends, every token is read twice an epoch.
    [ids] = pd.read_parquet(project.folder / "data/tokens/story-bpe/story/train.parquet").input_ids
    assert history.tokens.max() == pytest.approx(2 * 2 * len(ids), rel=0.02)
    assert (
        "".join(
            pd.read_parquet(project.folder / f"data/prepared/story/{split}.parquet").text.item()
            for split in ("train", "validation")
        ).split()
        == story.split()
    )
