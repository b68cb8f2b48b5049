import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from gptsmith.config import reference as module
from gptsmith.config.load import load_config
from gptsmith.config.reference import MARKER, generated_files, json_schema, main, reference
from gptsmith.errors import UserError

ROOT = Path(__file__).parents[2]
README = ROOT / "config" / "README.md"
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


def as_an_editor_reads(config: Path | str) -> dict:
    """The YAML with numbers as numbers: 5e-4 is one in YAML 1.2, and a text to PyYAML."""
    raw = yaml.safe_load(config.read_text() if isinstance(config, Path) else config)
    return load_config(raw).model_dump(mode="json", exclude_unset=True)


def example() -> str:
    found = re.search(r"^```yaml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def table(text: str, section: str) -> dict[str, list[str]]:
    """Key -> the other cells of its row, in one section of the reference."""
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in body.splitlines() if line.startswith("| `")]
    return {key.strip("`"): cells for key, *cells in rows}


def test_the_written_files_are_current():
    command = [sys.executable, "-m", "gptsmith.config.reference", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_example_of_the_readme_is_a_whole_config():
    config = as_an_editor_reads(example())
    assert config["runs"]["spam"]["training"]["learning_rate"] == 5e-4
    jsonschema.validate(config, json_schema())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_editors_accept_the_shipped_configs(path):
    jsonschema.validate(as_an_editor_reads(path), json_schema())


def test_editors_refuse_an_unknown_key():
    config = as_an_editor_reads(example())
    config["runs"]["spam"]["epoch"] = 3
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate(config, json_schema())


def test_every_key_is_explained():
    schema = json_schema()
    for name, model in {"Config": schema, **schema["$defs"]}.items():
        assert model.get("description"), name
        for key, value in model["properties"].items():
            assert value.get("description"), f"{name}.{key}"


def test_types_and_defaults_are_in_plain_words():
    text = reference(json_schema())
    datasets, splits = table(text, "Classification Dataset"), table(text, "Instruction Dataset")
    training, runs = table(text, "Training"), table(text, "Run")
    assert datasets["task"][:2] == ["`classification`", "required"]
    assert datasets["sources"][0] == "list of [Source](#source)"
    assert datasets["labels"][:2] == ["list of text or mapping of text to text", "`null`"]
    assert datasets["split"][1] == "its defaults"
    assert splits["split"][1] == "`{train: 0.85, validation: 0.05, test: 0.1}`"
    assert training["batch_size"][:2] == ["whole number (above 0)", "`8`"]
    assert training["gradient_clip"][0] == "number (above 0) or `null`"
    assert training["schedule"][0] == "one of `cosine`, `constant`"
    assert runs["trainable"][0] == "one of `all`, `head` or [Last Blocks](#last-blocks) or [LoRA Only](#lora-only)"


def test_links_lead_to_sections_and_places_name_the_config_path():
    text = README.read_text()
    sections = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= sections
    assert "Stands at `models.<name>.pretrain.training`, `runs.<name>.training`." in text
    assert "`datasets.<name>.sources[]`" in text


def test_what_is_written_by_hand_stays(tmp_path):
    (tmp_path / "config").mkdir()
    readme = tmp_path / "config" / "README.md"
    readme.write_text(f"# By hand\n\n{MARKER}\n\nan old table\n")
    text = generated_files(tmp_path)[readme]
    assert text.startswith(f"# By hand\n\n{MARKER}\n\n## Top level\n")
    assert "an old table" not in text


@pytest.mark.parametrize("text", [None, "# A README without the line\n"])
def test_no_file_is_written_without_the_line_before_the_tables(tmp_path, text):
    if text is not None:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "README.md").write_text(text)
    with pytest.raises(UserError, match=r"README\.md: no line"):
        generated_files(tmp_path)


def test_check_names_the_stale_file_and_writing_mends_it(tmp_path, monkeypatch, capsys):
    for folder in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["reference"])
    main()
    capsys.readouterr()
    schema = tmp_path / "workflow" / "schemas" / "config.schema.json"
    schema.write_text("{}\n")

    monkeypatch.setattr(sys, "argv", ["reference", "--check"])
    with pytest.raises(UserError, match=r"^not current: workflow/schemas/config\.schema\.json\. Run: python -m"):
        main()
    assert schema.read_text() == "{}\n"
    monkeypatch.setattr(sys, "argv", ["reference"])
    main()
    assert capsys.readouterr().out == "written: workflow/schemas/config.schema.json\n"
    assert json.loads(schema.read_text()) == json_schema()
