"""The worked examples of docs/extending.md, applied to a copy of the project and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import transformers
import yaml

if TYPE_CHECKING:
    from conftest import Project

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
BASE = "checkpoints/base/short-sighted"
SPAM = "checkpoints/finetuned/tiny/spam/seed-123"

# With two blocks the window reaches 2 x 15 positions back.
ATTENTION = f"""
import torch
from pathlib import Path
from gptsmith.checkpoint.files import load_language_model
from gptsmith.model.attention import WINDOW
from gptsmith.model.kv_cache import KeyValueCache

model = load_language_model(Path("{BASE}"))
for parameter in model.parameters():
    parameter.data = parameter * 4
first = torch.randint(200, (1, 50), generator=torch.Generator().manual_seed(1))
second = first.clone()
second[0, 0] += 1
reach = 2 * (WINDOW - 1)
with torch.inference_mode():
    one, other = model(first), model(second)
    assert not torch.equal(one[:, reach], other[:, reach])
    assert torch.equal(one[:, reach + 1 :], other[:, reach + 1 :])

    cache = KeyValueCache(model.architecture, batch=1, length=50)
    parts = [model(part, cache) for part in first.split([20, 1, 29], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), one)

    last = model.trunk.upper_at(model.trunk.lower(first, 0), 0, torch.tensor([49]))
    torch.testing.assert_close(last, model.trunk(first)[:, 49])
"""

BROKEN_LINE = """
from pathlib import Path
from gptsmith.config.datasets import Format
from gptsmith.data.readers import read_rows

list(read_rows(Path("broken.fasttext"), Format(type="fasttext"), ["text", "label"]))
"""


@pytest.fixture(scope="module")
def extended(new_project, tmp_path_factory: pytest.TempPathFactory) -> "Project":
    project = new_project(tmp_path_factory.mktemp("extending") / "my project")
    for kind, block in BLOCKS:
        if kind == "diff":
            apply = ["git", "apply", "-"]
            outside = os.environ | {"GIT_CEILING_DIRECTORIES": str(project.folder.parent)}
            subprocess.run(apply, cwd=project.folder, env=outside, input=block, text=True, check=True)
    messages = pd.read_csv(project.folder / "messages.csv")
    lines = [f"__label__{row.label} {row.text}\n" for row in messages.itertuples()]
    (project.folder / "messages.fasttext").write_text("\n".join(lines))
    config = {
        "name": "tiny",
        "tokenizers": {"messages-bpe": {"train_on": ["messages"], "vocab_size": 300}},
        "evaluation": {"bootstrap_samples": 50},
        "execution": {"threads": 1},
    }
    for kind, block in BLOCKS:
        config |= yaml.safe_load(block) if kind == "yaml" else {}
    project.write_config(config)
    project.run()
    return project


def python(project: "Project", code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False)


def test_every_block_of_the_page_is_used() -> None:
    assert {kind for kind, _ in BLOCKS} == {"diff", "yaml"}
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * len(BLOCKS) == 12


@pytest.mark.slow
def test_a_position_sees_its_window_alone_on_every_path(extended: "Project") -> None:
    result = python(extended, ATTENTION)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_an_attention_that_is_not_of_gpt2_is_not_taken_for_it(extended: "Project") -> None:
    verification = json.loads((extended.folder / BASE / "verification.json").read_text())
    assert verification["weights_alone"]
    with pytest.raises(ValueError, match="gptsmith"):
        transformers.AutoConfig.from_pretrained(extended.folder / SPAM)
    result = python(extended, "from gptsmith.cli.app import main; main()", "export", SPAM, "exported")
    assert result.returncode == 1
    assert "no model with these parts (attention: sliding_window, " in result.stderr
    assert not (extended.folder / "exported").exists()
    assert "attention in place of the model" in (extended.folder / "results/tiny/report.html").read_text()


@pytest.mark.slow
def test_the_format_is_read_and_a_broken_line_named(extended: "Project") -> None:
    splits = [pd.read_parquet(path) for path in sorted(extended.folder.glob("data/prepared/messages/*.parquet"))]
    prepared = pd.concat(splits).sort_values("id")
    messages = pd.read_csv(extended.folder / "messages.csv")
    assert prepared[["label", "text"]].values.tolist() == messages[["label", "text"]].values.tolist()
    (extended.folder / "broken.fasttext").write_text("__label__ham see you\n\nwin a prize\n")
    assert "broken.fasttext, line 3: does not begin with __label__" in python(extended, BROKEN_LINE).stderr


@pytest.mark.slow
def test_smoothed_labels_keep_the_model_from_being_sure(extended: "Project") -> None:
    predictions = pd.read_parquet(extended.folder / "results/tiny/spam/seed-123/predictions.parquet")
    assert (predictions["prediction"] == predictions["label"]).mean() > 0.9
    # Half of each text's weight is dealt out over two classes: three quarters are as sure as it pays to be.
    surest = predictions[["probability_ham", "probability_spam"]].max(axis=1)
    assert 0.7 < surest.mean() < 0.8
