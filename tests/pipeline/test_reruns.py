"""What runs again after a change: exactly what the change reaches.

Every case plans (`--dry-run`) in a copy of a project whose run is done. A job is written as its rule
and what it is for: `finetune spam/1` fine-tunes run `spam` with seed 1.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Project


@pytest.fixture
def copied(finished_project: "Project", tmp_path: Path) -> "Project":
    """A copy of the finished project, in another place."""
    folder = tmp_path / "a copy"
    shutil.copytree(finished_project.folder, folder)
    return type(finished_project)(folder)


def planned_jobs(project: "Project", *arguments: str) -> set[str]:
    result = project.snakemake("--dry-run", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    jobs = set()
    for rule, details in re.findall(r"^(?:local)?rule (\S+):\n((?:    .*\n)*)", result.stdout + result.stderr, re.M):
        wildcards = re.search(r"^    wildcards: (.*)$", details, re.MULTILINE)
        values = [pair.split("=")[1] for pair in wildcards[1].split(", ")] if wildcards else []
        jobs.add(f"{rule} {'/'.join(values)}".rstrip())
    return jobs - {"all"}


def set_in_config(project: "Project", place: str, value: Any) -> None:
    """Put `value` at a dotted place; mappings on the way there are made."""
    config = json.loads(json.dumps(project.config()))  # equal mappings become separate ones
    *way, last = place.split(".")
    section = config
    for key in way:
        section = section.setdefault(key, {})
    section[last] = value
    project.write_config(config)


# What follows from what, by hand.

END = {"collect_metrics", "report"}
SCORE_SPAM = {"evaluate spam/1", "summarize spam"} | END
SCORE_ASSISTANT = {"evaluate assistant/1", "summarize assistant"} | END
ANSWER_SPAM = {"predict spam/1"} | SCORE_SPAM
ANSWER_ASSISTANT = {"generate assistant/1"} | SCORE_ASSISTANT
TRAIN_SPAM = {"finetune spam/1"} | ANSWER_SPAM
TRAIN_ASSISTANT = {"finetune assistant/1"} | ANSWER_ASSISTANT
BEFORE = {"generate_before assistant"}
PRETRAIN = {"pretrain tiny", "verify_weights tiny"} | BEFORE | TRAIN_SPAM | TRAIN_ASSISTANT
TOKENIZE = {"tokenize tiny-bpe/messages", "tokenize tiny-bpe/questions"} | PRETRAIN
TOKENIZER = {"train_tokenizer tiny-bpe"} | TOKENIZE
MESSAGES = {"prepare messages", "baselines spam"} | TOKENIZER
QUESTIONS = {"prepare questions", "baselines assistant"} | TOKENIZER

SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2}
SPAM_AGAIN = {"dataset": "messages", "model": "tiny", "seeds": [1], "trainable": "head", "training": {"epochs": 1}}
MORE_MESSAGES = {"task": "classification", "sources": [{"path": "messages.csv"}], "format": {"type": "csv"}}

# fmt: off
CONFIG_CHANGES = [
    # place                                     new value                        planned
    ("runs.spam.training.learning_rate",        1e-3,                            TRAIN_SPAM),
    ("runs.assistant.training.batch_size",      16,                              TRAIN_ASSISTANT),
    ("runs.spam.trainable",                     "head",                          TRAIN_SPAM),
    ("runs.spam.training.beta2",                0.999,                           set()),  # what it is without
    ("runs.assistant.max_length",               60,                              TRAIN_ASSISTANT),
    ("runs.assistant.generation.temperature",   0.5,                             BEFORE | ANSWER_ASSISTANT),
    ("models.tiny.pretrain.training.beta2",     0.95,                            PRETRAIN),
    ("models.tiny.architecture.d_model",        32,                              PRETRAIN),
    ("tokenizers.tiny-bpe.vocab_size",          290,                             TOKENIZER),
    ("datasets.messages.split",                 SPLIT,                           MESSAGES),
    ("seed",                                    7,                               MESSAGES | QUESTIONS),
    ("evaluation.bootstrap_samples",            60,                              SCORE_SPAM | SCORE_ASSISTANT),
    ("evaluation.confidence",                   0.9,                             SCORE_SPAM | SCORE_ASSISTANT),
    ("execution.device",                        "cpu",                           set()),
    ("execution.threads",                       2,                               set()),
    ("execution.mirror",                        "/somewhere/else",               set()),
    ("runs.spam.seeds",                         [1, 2],                          {"finetune spam/2", "predict spam/2", "evaluate spam/2", "summarize spam"} | END),
    ("runs.again",                              SPAM_AGAIN,                      {"finetune again/1", "predict again/1", "evaluate again/1", "baselines again", "summarize again"} | END),
    ("datasets.unused",                         MORE_MESSAGES,                   {"report"}),
]
# fmt: on


@pytest.mark.parametrize(("place", "value", "planned"), CONFIG_CHANGES, ids=[case[0] for case in CONFIG_CHANGES])
def test_a_setting_reruns_what_it_reaches(copied: "Project", place: str, value: Any, planned: set[str]) -> None:
    set_in_config(copied, place, value)
    assert planned_jobs(copied) == planned


def test_a_second_dataset_with_a_run_adds_its_own_jobs(copied: "Project") -> None:
    set_in_config(copied, "datasets.more", MORE_MESSAGES)
    set_in_config(copied, "runs.more-spam", SPAM_AGAIN | {"dataset": "more"})
    run = {f"{rule} more-spam/1" for rule in ("finetune", "predict", "evaluate")}
    assert planned_jobs(copied) == END | run | {
        "prepare more",
        "tokenize tiny-bpe/more",
        "baselines more-spam",
        "summarize more-spam",
    }


# fmt: off
CODE_CHANGES = [
    # file                                      planned
    ("src/gptsmith/data/splits.py",             MESSAGES | QUESTIONS),
    ("src/gptsmith/model/attention.py",         PRETRAIN),
    ("src/gptsmith/generation/sampling.py",     BEFORE | ANSWER_ASSISTANT),
    ("src/gptsmith/evaluation/instructions.py", SCORE_SPAM | SCORE_ASSISTANT),  # one script evaluates both tasks
    ("src/gptsmith/report/wording.py",          {"report"}),
    ("src/gptsmith/report/report.css",          {"report"}),
    ("src/gptsmith/sources/archives.py",        set()),  # nothing was downloaded
    ("workflow/scripts/predict.py",             ANSWER_SPAM),
    ("workflow/scripts/baselines.py",           {"baselines spam", "baselines assistant", "summarize spam", "summarize assistant"} | END),
]
# fmt: on


@pytest.mark.parametrize(("file", "planned"), CODE_CHANGES, ids=[case[0] for case in CODE_CHANGES])
def test_an_edit_of_the_code_reruns_the_stages_that_use_it(copied: "Project", file: str, planned: set[str]) -> None:
    append(copied.folder / file, {".css": "td { padding: 0 }"}.get(Path(file).suffix, "EDITED = True"))
    assert planned_jobs(copied) == planned


def append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}\n{line}\n")


# All scripts that run an edited module, also those that the tiny run has no job of.
EVALUATING = {"evaluate", "summarize", "collect_metrics"}
WITH_A_MODEL = {
    "convert_weights",
    "finetune",
    "generate",
    "import_checkpoint",
    "predict",
    "pretrain",
    "random_weights",
    "verify_weights",
}
MODULES = [
    ("evaluation/instructions.py", EVALUATING | {"report"}),
    ("report/wording.py", {"report"}),
    ("sources/archives.py", {"download", "extract", "fetch_tokenizer", "download_weights"}),
    ("sources/http.py", {"download", "extract", "fetch_tokenizer", "download_weights"}),
    ("model/attention.py", WITH_A_MODEL),
    ("model/lora.py", {"finetune"}),
    ("data/splits.py", {"prepare"}),
    ("tokenizer/bpe.py", (WITH_A_MODEL - {"verify_weights"}) | {"train_tokenizer", "tokenize_dataset"}),
    ("training/loop.py", {"finetune", "pretrain", "random_weights"}),
]


@pytest.mark.parametrize(("module", "scripts"), MODULES, ids=[case[0] for case in MODULES])
def test_a_module_counts_for_the_scripts_that_import_it(copied: "Project", module: str, scripts: set[str]) -> None:
    before = code_versions(copied)
    append(copied.folder / "src" / "gptsmith" / module, "EDITED = True")
    after = code_versions(copied)
    assert {script for script, version in after.items() if version != before[script]} == scripts


def code_versions(project: "Project") -> dict[str, str]:
    """Script -> what its rule has as the version of its code."""
    program = """if True:
        import json, pathlib
        from gptsmith.code_version import code_version
        scripts = pathlib.Path("workflow/scripts").glob("*.py")
        print(json.dumps({script.stem: code_version(script) for script in scripts}))
    """
    environment = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


# Changes that change nothing


def touch(project: "Project") -> None:
    for pattern in ("Snakefile", "config.yaml", "messages.csv", "questions.jsonl", "workflow/**/*", "src/**/*"):
        for path in project.folder.glob(pattern):
            path.touch()


def comment(project: "Project") -> None:
    append(project.folder / "Snakefile", "# A remark.")
    for file in (*project.folder.glob("src/gptsmith/*/*.py"), *project.folder.glob("workflow/*/*")):
        if file.suffix in (".py", ".smk") and file.stat().st_size:
            append(file, "# A remark.")


def reword_docstrings(project: "Project") -> None:
    for file in project.folder.glob("src/gptsmith/**/*.py"):
        file.write_text(re.sub(r'^( *)"""', r'\1"""In other words: ', file.read_text(), flags=re.MULTILINE))


def rewrite_config(project: "Project") -> None:
    """The other way round, in another style, with comments, and with numbers written differently."""

    def reversed_keys(value: Any) -> Any:
        return {key: reversed_keys(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    text = yaml.safe_dump(reversed_keys(project.config()), sort_keys=False, default_flow_style=True, width=60)
    text = text.replace("train: 0.6", "train: 0.60")
    assert "0.60" in text
    (project.folder / "config.yaml").write_text(f"# The same config.\n\n{text}\n# Its end.\n")


def begin_git_history(project: "Project") -> None:
    subprocess.run(["git", "init", "--quiet", project.folder.parent], check=True)


def add_unused_files(project: "Project") -> None:
    (project.folder / "src" / "gptsmith" / "data" / "notes.py").write_text("NEW = True\n")
    (project.folder / "data" / "notes.txt").write_text("new\n")
    (project.folder / "other.yaml").write_text("new: true\n")


def delete_logs(project: "Project") -> None:
    shutil.rmtree(project.folder / "logs")


NO_CHANGES = [touch, comment, reword_docstrings, rewrite_config, begin_git_history, add_unused_files, delete_logs]


@pytest.mark.parametrize("change", NO_CHANGES, ids=lambda change: change.__name__)
def test_what_changes_no_result_reruns_nothing(copied: "Project", change: Callable[["Project"], None]) -> None:
    change(copied)
    assert planned_jobs(copied) == set()


def test_nothing_is_planned_after_a_run_and_in_a_copy_of_it(finished_project: "Project", copied: "Project") -> None:
    assert planned_jobs(finished_project) == planned_jobs(copied) == set()


def test_what_is_undone_reruns_nothing(copied: "Project") -> None:
    changed = [copied.folder / file for file in ("config.yaml", "messages.csv", "src/gptsmith/training/loop.py")]
    originals = [path.read_bytes() for path in changed]
    set_in_config(copied, "runs.spam.training.learning_rate", 1e-3)
    for path in changed[1:]:
        append(path, "EDITED = True" if path.suffix == ".py" else "ham,one more message")
    assert planned_jobs(copied) == MESSAGES
    for path, original in zip(changed, originals, strict=True):
        path.write_bytes(original)
    assert planned_jobs(copied) == set()


# The user's own data


def edit_a_row(messages: Path) -> None:
    messages.write_text(messages.read_text().replace("ham,see you at 0 ", "ham,see you at noon ", 1))


def put_an_older_file_in_its_place(messages: Path) -> None:
    """As `mv` and `cp -p` do; Snakemake itself goes by the newer date first."""
    edit_a_row(messages)
    os.utime(messages, (0, 0))


@pytest.mark.parametrize("edit", [edit_a_row, put_an_older_file_in_its_place], ids=lambda edit: edit.__name__)
def test_edited_data_rerun_from_preparation_on(copied: "Project", edit: Callable[[Path], None]) -> None:
    edit(copied.folder / "messages.csv")
    assert planned_jobs(copied) == MESSAGES


# Deleted files

# fmt: off
LOST = [
    # file                                                          target                 planned
    ("data/tokens/tiny-bpe/messages/train.parquet",                 "all",                 set()),
    ("checkpoints/finetuned/tiny/spam/seed-1/model.safetensors",    "all",                 set()),
    ("results/tiny/spam/summary.json",                              "all",                 set()),
    ("results/tiny/spam/summary.json",                              "spam",                {"summarize spam"}),
    ("results/tiny/metrics.json",                                   "all",                 {"collect_metrics"}),
    ("results/tiny/report.html",                                    "all",                 {"report"}),
]
# fmt: on


@pytest.mark.parametrize(
    ("file", "target", "planned"), LOST, ids=[f"{Path(file).name}-{target}" for file, target, _ in LOST]
)
def test_a_deleted_file_is_made_again_where_it_is_needed(
    copied: "Project", file: str, target: str, planned: set[str]
) -> None:
    (copied.folder / file).unlink()
    assert planned_jobs(copied, target) - {target} == planned


def test_a_deleted_log_is_no_reason_to_train_again(copied: "Project") -> None:
    delete_logs(copied)
    (copied.folder / "results" / "tiny" / "report.html").unlink()
    copied.run()
    assert planned_jobs(copied) == set()


# One case that really runs


@pytest.mark.slow
def test_a_changed_run_runs_again_and_the_other_is_left_alone(copied: "Project") -> None:
    def checkpoint(run: str) -> tuple[bytes, int]:
        path = copied.folder / f"checkpoints/finetuned/tiny/{run}/seed-1/model.safetensors"
        return path.read_bytes(), path.stat().st_mtime_ns

    spam, assistant = checkpoint("spam"), checkpoint("assistant")
    unchanged = copied.config()
    set_in_config(copied, "runs.spam.training.learning_rate", 1e-3)
    copied.run()
    assert planned_jobs(copied) == set()
    assert checkpoint("spam")[0] != spam[0]
    assert checkpoint("assistant") == assistant

    copied.write_config(unchanged)
    assert planned_jobs(copied) == TRAIN_SPAM
    copied.run()
    assert planned_jobs(copied) == set()
    assert checkpoint("spam")[0] == spam[0]
