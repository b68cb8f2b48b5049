"""`gptsmith init` says what it found and writes a config that loads."""

import json
import random
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from gptsmith.cli.app import app
from gptsmith.config.load import Config, load_config
from gptsmith.data.prepare import prepare
from gptsmith.data.prepared import read_report
from gptsmith.errors import UserError
from gptsmith.inspection.beginnings import SHAPES, Measured, for_classification
from gptsmith.inspection.new_config import GPT2

ROOT = Path(__file__).parents[2]


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    error = init(*arguments).exception
    assert isinstance(error, UserError)
    return str(error)


def written(path: str | Path) -> Config:
    return load_config(yaml.safe_load(Path(path).read_text()))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(["delivery", "late", "refund", "broken", "invoice", "wrong", "hours"], k=9))


def write_mails(path: Path, classes: dict[str, int], encoding: str = "utf-8") -> None:
    rng = random.Random(0)
    rows = [f"{n};{sentence(rng)} für {n};{label}" for label, count in classes.items() for n in range(count)]
    path.write_text("number;Body;Topic\n" + "\n".join(rows) + "\n", encoding=encoding)


def test_a_table_from_excel(folder: Path) -> None:
    write_mails(folder / "My mails.csv", {"complaint": 60, "billing": 30, "question": 20}, "cp1252")
    result = init("My mails.csv")
    assert result.exit_code == 0
    assert "separated by semicolons, a header line, encoding cp1252; 110 rows" in result.stdout
    assert "3 classes: complaint (60), billing (30), question (20)" in result.stdout
    assert "guessed: --label Topic: the only column of classes" in result.stdout
    config = written("my-mails.yaml")
    dataset = config.datasets["my-mails"]
    assert dataset.task == "classification"
    assert (dataset.text, dataset.label, dataset.positive_label) == ("Body", "Topic", None)
    assert (dataset.format.delimiter, dataset.format.encoding) == (";", "cp1252")
    model = config.models[config.runs["classifier"].model]
    assert model.origin == "pretrain"
    assert model.architecture is not None
    assert model.architecture.context_length == 32
    text = Path("my-mails.yaml").read_text()
    assert "\n  # classifier: {dataset: my-mails, model: gpt2-small" in text
    with_gpt2 = yaml.safe_load(text) | {"runs": yaml.safe_load(text.split("\n  # ")[-1].split("\n")[0])}
    assert load_config(with_gpt2).runs["classifier"].model == "gpt2-small"


@pytest.mark.parametrize("name", ["data [1].csv", "a, b.csv", "x{1}.csv", "it's: one.csv"])
def test_any_file_name_can_stand_in_the_config(folder: Path, name: str) -> None:
    write_mails(folder / name, {"complaint": 60, "billing": 30})
    assert init(name, "--output", "mine.yaml").exit_code == 0
    [dataset] = written("mine.yaml").datasets.values()
    assert [source.path for source in dataset.sources] == [name]


def test_a_table_of_pandas_with_its_index(folder: Path) -> None:
    rng = random.Random(0)
    rows = [f"{n},{sentence(rng)} {n},{'a' if n % 2 else 'b'}" for n in range(80)]
    (folder / "frame.csv").write_text(",text,label\n" + "\n".join(rows) + "\n")
    assert init("frame.csv").exit_code == 0
    dataset = written("frame.yaml").datasets["frame"]
    assert dataset.task == "classification"
    assert (dataset.text, dataset.label) == ("text", "label")


def test_an_empty_column_is_no_text(folder: Path) -> None:
    rows = [f",{'a' if n % 2 else 'b'}" for n in range(80)]
    (folder / "notes.csv").write_text("note,class\n" + "\n".join(rows) + "\n")
    assert "column 'note' is empty in every row" in refusal("notes.csv", "--text", "note", "--label", "class")


def test_rows_that_lack_something_are_left_out(folder: Path) -> None:
    rows = [{"text": f"some words and {n}", "label": "xy"[n % 2], "note": None} for n in range(60)]
    rows += [{"text": " ", "label": "x"}, {"text": "no label", "label": None}, {"text": None, "label": None}]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    init("a.jsonl")
    dataset = written("a.yaml").datasets["a"]
    assert dataset.task == "classification"
    assert dataset.incomplete == "drop"
    assert "incomplete: drop  # 3 rows lack a text or a class" in Path("a.yaml").read_text()
    prepare(Path("a.jsonl"), dataset, 1, folder / "prepared")
    assert read_report(folder / "prepared")["dropped"]["incomplete"] == 3


def test_lists_and_objects_are_neither_texts_nor_classes(folder: Path) -> None:
    rows = [
        {"words": f"some words and {n}", "class": "xy"[n % 2], "tags": [n % 2], "user": {"age": n}} for n in range(60)
    ]
    (folder / "a.json").write_text(json.dumps(rows))
    assert "  tags   lists or objects, e.g. [" in init("a.json").stdout
    assert written("a.yaml").datasets["a"].label == "class"  # type: ignore[union-attr]
    assert "entry 1, column 'user': an object where text is expected" in refusal(
        "a.json", "--text", "user", "--output", "b.yaml"
    )
    (folder / "a.csv").write_text("words,class\n" + "".join(f"[{n}],{'xy'[n % 2]}\n" for n in range(60)))
    init("a.csv", "--output", "b.yaml")
    assert written("b.yaml").datasets["a"].text == "words"  # type: ignore[union-attr]


def test_the_choices_as_json(folder: Path) -> None:
    rows = [f"text {n} of some words,{'ham' if n % 2 else 'spam'}" for n in range(40)]
    (folder / "messages.csv").write_text("body,kind\n" + "\n".join(rows) + "\n")
    result = init("messages.csv", "--label", "kind", "--json")
    told = json.loads(result.stdout)
    assert (told["config"], told["rows"]) == ("messages.yaml", 40)
    assert (told["columns"]["text"], told["columns"]["label"]) == (["body"], "kind")
    assert "written: messages.yaml" in result.stderr


def test_two_classes_have_a_positive_one(folder: Path) -> None:
    write_mails(folder / "a.csv", {"0": 60, "1": 30})
    init("a.csv", "--text", "Body", "--label", "Topic", "--name", "2024", "--output", "b.yaml")
    config = written("b.yaml")
    assert config.name == "2024"
    dataset = config.datasets["2024"]
    assert dataset.task == "classification"
    assert dataset.positive_label == "1"


@pytest.mark.parametrize(("rows", "weights"), [(100, "none"), (101, "balanced")])
def test_rare_classes_count_more(folder: Path, rows: int, weights: str) -> None:
    write_mails(folder / "a.csv", {"x": rows, "y": 20})
    init("a.csv")
    assert written("a.yaml").runs["classifier"].class_weights == weights


def test_names_that_yaml_takes_for_something_else(folder: Path) -> None:
    rows = [f"some words and number {n},{'yes' if n % 2 else '# no: 1'}" for n in range(60)]
    (folder / "null.csv").write_text('"on: [x","no"\n' + "\n".join(rows) + "\n")
    init("null.csv")
    dataset = written("null.yaml").datasets["null"]
    assert dataset.task == "classification"
    assert (dataset.text, dataset.label) == ("on: [x", "no")


def test_instructions(folder: Path) -> None:
    rows = [{"question": f"What comes after {n}?", "context": "", "answer": str(n + 1), "id": n} for n in range(80)]
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "guessed: --instruction question: by its name" in init("q.jsonl").stdout
    config = written("q.yaml")
    dataset = config.datasets["q"]
    assert dataset.task == "instruction"
    assert (dataset.instruction, dataset.input, dataset.output) == ("question", "context", "answer")
    assert config.runs["assistant"].generation is not None


def test_conversations(folder: Path) -> None:
    chats = [
        [{"role": "user", "content": f"What comes after {n}?"}, {"role": "assistant", "content": str(n + 1)}]
        for n in range(80)
    ]
    (folder / "chat.jsonl").write_text(
        "\n".join(json.dumps({"messages": chat, "id": n}) for n, chat in enumerate(chats))
    )
    assert "guessed: --messages messages: the only column of conversations" in init("chat.jsonl").stdout
    dataset = written("chat.yaml").datasets["chat"]
    assert dataset.task == "instruction"
    assert dataset.messages == "messages"


def test_several_text_columns_and_a_test_file(folder: Path) -> None:
    for name in ("a", "b"):
        rows = [f"subject {n},some words {n},{'xy'[n % 2]}" for n in range(40)]
        (folder / f"{name}.csv").write_text("subject,body,label\n" + "\n".join(rows) + "\n")
    init("a.csv", "--text", "subject", "--text", "body", "--test", "b.csv")
    dataset = written("a.yaml").datasets["a"]
    assert dataset.task == "classification"
    assert dataset.text == ["subject", "body"]
    assert [source.path for source in dataset.test_sources or []] == ["b.csv"]
    (folder / "b.csv").write_text("subject;label\na;x\nb;y\n")
    assert "Save both in the same format" in refusal("a.csv", "--test", "b.csv", "--text", "body", "--output", "c.yaml")


def test_the_longest_instruction_fits(folder: Path) -> None:
    rows = [{"prompt": f"What comes after {n}?", "response": str(n + 1)} for n in range(80)]
    rows[70]["response"] = "xyzzy " * 900
    (folder / "q.json").write_text(json.dumps(rows))
    init("q.json")
    config = written("q.yaml")
    architecture, run = config.models["q-small"].architecture, config.runs["assistant"]
    assert architecture is not None
    assert run.max_length is not None
    assert architecture.context_length > 900 > 2 * run.max_length


def test_what_is_not_clear_is_asked_for(folder: Path) -> None:
    (folder / "a.csv").write_text("x,y,z\n" + "some words here,a,1\nother words there,b,2\n" * 20)
    message = refusal("a.csv")
    assert "which column is the label? Name it: --label COLUMN" in message
    assert "  y  2 classes: a (20), b (20)" in message
    assert "no column 'w'" in refusal("a.csv", "--label", "w")
    assert not list(folder.glob("*.yaml"))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\n" + "some words,a\nother words,a\n" * 20, (), "every row has the same 'label'"),
        (
            "text,label\n" + "some words,a\nother words,b\n" * 20 + "rare,c\n",
            (),
            r"fewer than 5 different texts.*c \(1\)",
        ),
        ("text,label\n" + "a,a\nb,b\n" * 20, ("--text", "label", "--label", "label"), "cannot be both"),
    ],
)
def test_data_that_no_classifier_learns_from(
    folder: Path, content: str, options: tuple[str, ...], message: str
) -> None:
    (folder / "a.csv").write_text(content)
    with pytest.raises(UserError, match=f"(?s){message}"):
        raise UserError(refusal("a.csv", *options))
    assert not list(folder.glob("*.yaml"))


def test_nothing_is_overwritten(folder: Path) -> None:
    write_mails(folder / "a.csv", {"x": 30, "y": 30})
    (folder / "a.yaml").write_text("mine")
    assert "a.yaml: is there already" in refusal("a.csv")
    assert (folder / "a.yaml").read_text() == "mine"


def test_more_rows_get_larger_models_and_fewer_epochs() -> None:
    found = [for_classification(Measured(2048, 40, 60, 100), rows, 0.7) for rows in (500, 20_000, 500_000)]
    assert [one.d_model for one in found] == sorted(shape[0] for shape in SHAPES.values())
    assert [one.epochs for one in found] == sorted((one.epochs for one in found), reverse=True)
    assert 0 < found[-1].pretraining_epochs < 1


def test_gpt2_is_that_of_the_shipped_config() -> None:
    shipped = load_config(yaml.safe_load((ROOT / "config" / "gpt2-small.yaml").read_text()))
    text = shipped.model_dump_json()
    assert all(value in text for value in GPT2.values())
