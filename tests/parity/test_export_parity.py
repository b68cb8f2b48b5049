"""An exported model in transformers' pipelines says what it says here."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, pipeline

from gptsmith.checkpoint.configuration import FineTuning
from gptsmith.checkpoint.export import chat_template, export_checkpoint
from gptsmith.checkpoint.files import save_language_model
from gptsmith.checkpoint.model_card import model_card
from gptsmith.cli import app
from gptsmith.config.architecture import Architecture
from gptsmith.config.conventions import Conventions
from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.generation.conversation import Turn, answer, conversation_ids, load_assistant
from gptsmith.generation.texts import classify_texts, load_text_classifier
from gptsmith.model.initialization import new_language_model
from gptsmith.tokenizer.bpe import BytePairEncoding, train
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.files import write_tokenizer
from gptsmith.training.compute import Compute

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = ["win a prize now", "see you at six", "été, \n\n  <b>x</b>", "long " * 30, "a"]
WEIGHTS_AND_TOKENIZER = {"model.safetensors", "config.json", "README.md"} | {
    "vocab.json",
    "merges.txt",
    "tokenizer_settings.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def classifier(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "classifier"
    export_checkpoint(tiny_classifier, folder, None, force=False)
    return folder


@pytest.fixture(scope="module")
def assistant(tiny_assistant: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "assistant"
    export_checkpoint(tiny_assistant, folder, None, force=False)
    return folder


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_classifier_gives_the_same_probabilities(batch_size: int, classifier: Path, tiny_classifier: Path) -> None:
    ours = load_text_classifier(tiny_classifier, CPU)
    expected = classify_texts(ours, TEXTS).probabilities
    classify = pipeline("text-classification", model=str(classifier), top_k=None, device="cpu")
    found = classify(TEXTS, truncation=True, batch_size=batch_size)
    for row, scores in zip(expected, found, strict=True):
        by_label = {score["label"]: score["score"] for score in scores}
        assert by_label == pytest.approx(dict(zip(ours.labels, row, strict=True)), rel=1e-4, abs=1e-6)


def test_an_assistant_gives_the_same_greedy_answers(assistant: Path, tiny_assistant: Path) -> None:
    ours = load_assistant(tiny_assistant, None, CPU)
    theirs = pipeline("text-generation", model=str(assistant), device="cpu")
    turns: list[Turn] = []
    messages: list[dict[str, str]] = []
    finished = set()
    for message in ("win", "q", "zz", "été"):
        ids, n_kept = conversation_ids(ours, turns, message, 6)
        assert n_kept == len(turns)
        pieces = list(answer(ours, ids, Generation(max_new_tokens=6)))
        expected = "".join(piece.text for piece in pieces)
        finished.add(pieces[-1].finish_reason)
        messages.append({"role": "user", "content": message})
        # A chat may not be answered in place: the pipeline appends to what it is given.
        found = theirs(list(messages), max_new_tokens=6)[0]["generated_text"][-1]["content"]
        assert found == expected
        if len(ids) < 20:
            turns.append(Turn(message, "yes"))
            messages.append({"role": "assistant", "content": "yes"})
        else:
            turns, messages = [], []
    assert "length" in finished


@pytest.mark.parametrize("prompt", ["alpaca", "compact"])
def test_the_chat_template_writes_what_the_model_was_trained_with(
    prompt: Any, assistant: Path, tiny_assistant: Path
) -> None:
    ours = load_assistant(tiny_assistant, prompt, CPU)
    theirs = AutoTokenizer.from_pretrained(assistant)
    theirs.chat_template = chat_template(prompt)
    words = [("user", 'say "one" {{ 1 }}'), ("assistant", "one"), ("user", "two\nlines")]
    messages = [{"role": role, "content": content} for role, content in words]
    wide = ours.model.architecture.model_copy(update={"context_length": 1000})
    ours.model.trunk.architecture = wide
    expected, _ = conversation_ids(ours, [Turn(words[0][1], words[1][1])], words[2][1], 10)
    assert theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == expected
    with pytest.raises(Exception, match="only messages of user and assistant"):
        theirs.apply_chat_template([{"role": "system", "content": "be brief"}])


def test_the_tokenizer_gives_the_same_ids(assistant: Path) -> None:
    ours, theirs = load_tokenizer(assistant, "tiny"), AutoTokenizer.from_pretrained(assistant)
    for text in [*TEXTS, " two  spaces\t", "日本語 ☃", "I'll we've 123"]:
        assert theirs(text).input_ids == ours.encode(text)
        assert theirs.decode(ours.encode(text)) == text
    assert theirs.eos_token_id == theirs.pad_token_id == ours.end_of_text


CHAT = """
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a Llama that was fine-tuned in the format of its tokenizer, which splits numbers into digits."""
    folder = tmp_path_factory.mktemp("checkpoints") / "llama"
    conventions = Conventions(
        pretokens="smollm", end_of_text="<|im_end|>", other_special_tokens=["<|im_start|>"], chat_template=CHAT
    )
    trained = train(["win a prize now, user assistant see you at six"], 270)
    shifted = tuple((left + 2, right + 2) for left, right in trained.merges)
    encoding = BytePairEncoding(trained.alphabet, shifted, ("<|im_start|>", "<|im_end|>"), (), conventions)
    write_tokenizer(encoding, folder)
    parts: dict[str, Any] = {"norm": "rms_norm", "position": "rotary", "activation": "swiglu", "bias": False}
    shape = Architecture(vocab_size=271, context_length=96, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, **parts)
    model = new_language_model(shape, torch.Generator().manual_seed(4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)
    save_language_model(model, folder, 1, FineTuning(max_length=96, prompt="chat"))
    return folder


def test_a_llama_answers_in_the_format_of_its_tokenizer(llama: Path, tmp_path: Path) -> None:
    export_checkpoint(llama, tmp_path / "exported", None, force=False)
    ours, theirs = load_assistant(llama, None, CPU), AutoTokenizer.from_pretrained(tmp_path / "exported")
    for text in [*TEXTS, "at  12", "a\n\n 345", "½٣"]:
        assert theirs(text).input_ids == ours.tokenizer.encode(text)
    said = (("user", "six 66"), ("assistant", "b"), ("user", "c"))
    messages = [{"role": role, "content": text} for role, text in said]
    expected, _ = conversation_ids(ours, [Turn("six 66", "b")], "c", 10)
    assert theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == expected
    assert theirs.eos_token_id == ours.tokenizer.end_of_text == 1
    answered = "".join(piece.text for piece in answer(ours, expected, Generation(max_new_tokens=12)))
    pipe = pipeline("text-generation", model=str(tmp_path / "exported"), device="cpu")
    assert pipe(messages, max_new_tokens=12)[0]["generated_text"][-1]["content"] == answered
    assert "chat format of its tokenizer" in (tmp_path / "exported" / "README.md").read_text()


def test_the_folder_holds_what_is_needed_and_nothing_that_could_run(classifier: Path, assistant: Path) -> None:
    assert {file.name for file in classifier.iterdir()} == WEIGHTS_AND_TOKENIZER
    more = {"chat_template.jinja", "generation_config.json"}
    assert {file.name for file in assistant.iterdir()} == WEIGHTS_AND_TOKENIZER | more
    # It is a checkpoint here as well.
    assert load_assistant(assistant, None, CPU).prompt == "compact"
    assert load_text_classifier(classifier, CPU).max_length == 20
    assert json.loads((classifier / "tokenizer_config.json").read_text())["model_max_length"] == 20


def test_a_folder_is_not_written_over_unless_asked(tiny_classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"full: not empty; .* --force"):
        export_checkpoint(tiny_classifier, tmp_path / "full", None, force=False)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["notes.txt"]
    export_checkpoint(tiny_classifier, tmp_path / "full", None, force=True)
    assert {file.name for file in (tmp_path / "full").iterdir()} == WEIGHTS_AND_TOKENIZER | {"notes.txt"}
    with pytest.raises(UserError, match="the checkpoint itself"):
        export_checkpoint(tiny_classifier, tiny_classifier, None, force=True)


def test_a_damaged_checkpoint_leaves_nothing(tiny_classifier: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_classifier, tmp_path / "damaged")
    (tmp_path / "damaged" / "merges.txt").write_text("#version: 0.2\nx\n")
    with pytest.raises(UserError, match=r"merges.txt, line 2"):
        export_checkpoint(tmp_path / "damaged", tmp_path / "out", None, force=False)
    assert [file.name for file in tmp_path.iterdir()] == ["damaged"]


def test_the_command_finds_the_runs_results(
    tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoints" / "finetuned" / "mine" / "spam" / "seed-1"
    shutil.copytree(tiny_classifier, checkpoint)
    summary = tmp_path / "results" / "mine" / "spam" / "summary.json"
    summary.parent.mkdir(parents=True)
    metric = {"mean": 0.5, "low": 0.25, "high": 0.75}
    told = {"dataset": "x`|</script>", "model": "m", "run": "spam", "seeds": [1], "rows": 12}
    summary.write_text(json.dumps({"metrics": {"f1": metric, "roc_auc": metric | {"low": None}}} | told))
    monkeypatch.setattr(sys, "argv", ["gptsmith", "export", str(checkpoint), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out'}: written, with the results of ")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--force", "--json"])
    with pytest.raises(SystemExit):
        app.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["folder"], told["results"]) == (str(tmp_path / "out"), str(summary))
    assert {"model.safetensors", "README.md"} <= set(told["files"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "| f1 | 0.500 | 0.250 to 0.750 |" in card
    assert "roc_auc" not in card


def test_labels_in_the_card_are_no_markup() -> None:
    card = model_card(Architecture(), ["a\n# b", "<script>`"], None, None)
    assert '\n    ["a\\n# b", "<script>`"]\n' in card
