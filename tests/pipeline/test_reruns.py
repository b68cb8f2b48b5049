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

FEATURES = {f"trunk_features tiny/messages/0/whole/{split}" for split in ("train", "validation", "test")}
SECOND_SEED = {"finetune spam/2", "predict spam/2", "evaluate spam/2", "summarize spam"}
SECOND_RUN = {f"{rule} more-spam/1" for rule in ("finetune", "predict", "evaluate")}
SECOND_RUN |= {f"{rule} more-spam" for rule in ("baselines", "summarize")}
COMPARE = {"comparisons messages"}

SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2}
JUDGE = {"url": "http://localhost:11434/v1", "model": "llama3"}
JUDGED = {"judge assistant/before", "judge assistant/seed-1"} | SCORE_ASSISTANT
EXECUTION = {"device": "cpu", "threads": 2, "mirror": "/somewhere/else"}
MORE_SPAM = {"dataset": "messages", "model": "tiny", "seeds": [1], "training": {"epochs": 1}}

# fmt: off
CONFIG_CHANGES = [
    # place                                     new value                        planned
    ("runs.spam.training.learning_rate",        1e-3,                            TRAIN_SPAM),
    ("runs.spam.trainable",                     "head",                          TRAIN_SPAM | FEATURES),
    ("runs.spam.training.beta2",                0.999,                           set()),  # what it is anyway
    ("runs.assistant.max_length",               60,                              TRAIN_ASSISTANT),
    ("runs.assistant.generation.temperature",   0.5,                             BEFORE | ANSWER_ASSISTANT),
    ("models.tiny.pretrain.training.beta2",     0.95,                            PRETRAIN),
    ("tokenizers.tiny-bpe.vocab_size",          290,                             TOKENIZER),
    ("datasets.messages.split",                 SPLIT,                           MESSAGES),
    ("seed",                                    7,                               MESSAGES | QUESTIONS),
    ("evaluation.bootstrap_samples",            60,                              SCORE_SPAM | SCORE_ASSISTANT),
    ("evaluation.judge",                        JUDGE,                           JUDGED),
    ("execution",                               EXECUTION,                       set()),
    ("runs.spam.seeds",                         [1, 2],                          SECOND_SEED | END),
    ("runs.more-spam",                          MORE_SPAM,                       SECOND_RUN | COMPARE | END),
]
# fmt: on


@pytest.mark.parametrize(("place", "value", "planned"), CONFIG_CHANGES, ids=[case[0] for case in CONFIG_CHANGES])
def test_a_setting_reruns_what_it_reaches(copied_project: "Project", place: str, value: Any, planned: set[str]) -> None:
    set_in_config(copied_project, place, value)
    assert planned_jobs(copied_project) == planned


def test_a_second_dataset_with_a_run_adds_its_own_jobs(copied_project: "Project") -> None:
    set_in_config(copied_project, "datasets.more", copied_project.config()["datasets"]["messages"])
    set_in_config(copied_project, "runs.more-spam", MORE_SPAM | {"dataset": "more"})
    assert planned_jobs(copied_project) == {"prepare more", "tokenize tiny-bpe/more"} | SECOND_RUN | END


BASELINES = {"baselines spam", "baselines assistant", "summarize spam", "summarize assistant"}

# fmt: off
CODE_CHANGES = [
    # file                                      planned
    ("src/gptsmith/data/splits.py",             MESSAGES | QUESTIONS),
    ("src/gptsmith/model/attention.py",         PRETRAIN),
    ("src/gptsmith/evaluation/instructions.py", SCORE_SPAM | SCORE_ASSISTANT),  # one script evaluates both tasks
    ("src/gptsmith/report/wording.py",          {"report"}),
    ("src/gptsmith/report/report.css",          {"report"}),
    ("workflow/scripts/predict.py",             ANSWER_SPAM),
    ("workflow/scripts/baselines.py",           BASELINES | END),
]
# fmt: on


@pytest.mark.parametrize(("file", "planned"), CODE_CHANGES, ids=[case[0] for case in CODE_CHANGES])
def test_an_edit_of_the_code_reruns_the_stages_that_use_it(
    copied_project: "Project", file: str, planned: set[str]
) -> None:
    append(copied_project.folder / file, {".css": "td { padding: 0 }"}.get(Path(file).suffix, "EDITED = True"))
    assert planned_jobs(copied_project) == planned


def append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}\n{line}\n")


# All scripts that run an edited module, also those that the tiny run has no job of.
WITH_A_MODEL = {
    "convert_gguf",
    "convert_weights",
    "finetune",
    "generate",
    "import_checkpoint",
    "measure_variants",
    "predict",
    "pretrain",
    "random_weights",
    "score_trial",
    "score_variant",
    "trunk_features",
    "verify_weights",
}
MODULES = [
    (
        "evaluation/instructions.py",
        {"evaluate", "summarize", "comparisons", "report"},
    ),
    ("evaluation/mcnemar.py", {"comparisons"}),
    (
        "evaluation/thresholds.py",
        {"evaluate", "summarize", "comparisons", "report", "choose", "sweep", "learning_curve", "ablation"},
    ),
    (
        "evaluation/answers.py",
        {"evaluate", "summarize", "comparisons", "report", "choose", "sweep", "learning_curve", "judge", "ablation"},
    ),
    ("evaluation/sweep.py", {"sweep"}),
    ("evaluation/ablation.py", {"ablation"}),
    ("training/step_costs.py", {"measure_variants"}),
    ("sources/chat.py", {"judge"}),
    ("report/wording.py", {"report"}),
    ("sources/archives.py", {"download", "extract", "fetch_tokenizer", "download_weights"}),
    ("sources/http.py", {"download", "extract", "fetch_tokenizer", "download_weights", "judge"}),
    ("sources/gguf.py", {"convert_gguf", "gguf_tokenizer"}),
    ("model/attention.py", WITH_A_MODEL),
    ("model/lora.py", {"finetune"}),
    ("data/splits.py", {"prepare", "prepare_shards", "read_shard"}),
    (
        "tokenizer/bpe.py",
        (WITH_A_MODEL - {"verify_weights"})
        | {"train_tokenizer", "fetch_tokenizer", "gguf_tokenizer", "tokenize_dataset", "join_tokens"},
    ),
    ("training/loop.py", {"finetune", "pretrain", "random_weights", "measure_variants"}),
]


@pytest.mark.parametrize(("module", "scripts"), MODULES, ids=[case[0] for case in MODULES])
def test_a_module_counts_for_the_scripts_that_import_it(
    copied_project: "Project", module: str, scripts: set[str]
) -> None:
    before = code_versions(copied_project)
    append(copied_project.folder / "src" / "gptsmith" / module, "EDITED = True")
    after = code_versions(copied_project)
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


def touch_files(project: "Project") -> None:
    for pattern in ("Snakefile", "config.yaml", "messages.csv", "questions.jsonl", "workflow/**/*", "src/**/*"):
        for path in project.folder.glob(pattern):
            path.touch()


def reword_comments_and_docstrings(project: "Project") -> None:
    for file in (project.folder / "Snakefile", *project.folder.glob("workflow/**/*.smk")):
        append(file, "# A remark.")
    for file in (*project.folder.glob("src/gptsmith/*/*.py"), *project.folder.glob("workflow/scripts/*.py")):
        if source := file.read_text():
            file.write_text(re.sub(r'^( *)"""(?=\w)', r'\1"""In other words: ', source, flags=re.MULTILINE))
            append(file, "# A remark.")


def rewrite_config(project: "Project") -> None:
    """The other way round, in another style, with comments, and with a number written differently."""

    def reversed_keys(value: Any) -> Any:
        return {key: reversed_keys(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    config = reversed_keys(project.config())
    config["runs"] = {name: config["runs"][name] for name in project.config()["runs"]}  # the report's order
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=True, width=60)
    assert "train: 0.6" in text
    text = text.replace("train: 0.6", "train: 0.60")
    (project.folder / "config.yaml").write_text(f"# The same config.\n\n{text}\n# Its end.\n")


def add_and_remove_bystanders(project: "Project") -> None:
    subprocess.run(["git", "init", "--quiet", project.folder], check=True)
    for file in ("src/gptsmith/data/notes.py", "data/notes.txt", "other.yaml"):
        (project.folder / file).write_text("# New\n")
    shutil.rmtree(project.folder / "logs")


NO_CHANGES = [touch_files, reword_comments_and_docstrings, rewrite_config, add_and_remove_bystanders]


@pytest.mark.parametrize("change", NO_CHANGES, ids=lambda change: change.__name__)
def test_what_changes_no_result_reruns_nothing(copied_project: "Project", change: Callable[["Project"], None]) -> None:
    change(copied_project)
    assert planned_jobs(copied_project) == set()


def test_nothing_is_planned_after_a_run_and_in_a_copy_of_it(
    finished_project: "Project", copied_project: "Project"
) -> None:
    assert planned_jobs(finished_project) == planned_jobs(copied_project) == set()


def test_a_run_with_nothing_to_do_tells_where_the_report_is(copied_project: "Project") -> None:
    result = copied_project.snakemake("--quiet", "rules", "host")  # as `make run` calls it
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Nothing to be done" in result.stderr
    assert result.stdout == f"Report: {copied_project.folder}/results/tiny/report.html\n"


def test_what_is_undone_reruns_nothing(copied_project: "Project") -> None:
    changed = [
        copied_project.folder / file for file in ("config.yaml", "messages.csv", "src/gptsmith/training/loop.py")
    ]
    originals = [path.read_bytes() for path in changed]
    set_in_config(copied_project, "runs.spam.training.learning_rate", 1e-3)
    for path in changed[1:]:
        append(path, "EDITED = True" if path.suffix == ".py" else "ham,one more message")
    assert planned_jobs(copied_project) == MESSAGES
    for path, original in zip(changed, originals, strict=True):
        path.write_bytes(original)
    assert planned_jobs(copied_project) == set()


def test_another_order_of_the_runs_is_another_report(copied_project: "Project") -> None:
    config = copied_project.config()
    config["runs"] = dict(reversed(config["runs"].items()))
    copied_project.write_config(config)
    assert planned_jobs(copied_project) == {"report"}


# The user's own data


def edit_a_row(messages: Path) -> None:
    messages.write_text(messages.read_text().replace("ham,see you at 0 ", "ham,see you at noon ", 1))


def put_an_older_file_in_its_place(messages: Path) -> None:
    """As `mv` and `cp -p` do; Snakemake itself goes by the newer date first."""
    edit_a_row(messages)
    os.utime(messages, (0, 0))


@pytest.mark.parametrize("edit", [edit_a_row, put_an_older_file_in_its_place], ids=lambda edit: edit.__name__)
def test_edited_data_rerun_from_preparation_on(copied_project: "Project", edit: Callable[[Path], None]) -> None:
    edit(copied_project.folder / "messages.csv")
    assert planned_jobs(copied_project) == MESSAGES


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


@pytest.mark.parametrize(("file", "target", "planned"), LOST, ids=[" ".join(case[:2]) for case in LOST])
def test_a_deleted_file_is_made_again_where_it_is_needed(
    copied_project: "Project", file: str, target: str, planned: set[str]
) -> None:
    (copied_project.folder / file).unlink()
    assert planned_jobs(copied_project, target) - {target} == planned


def test_a_deleted_log_is_no_reason_to_train_again(copied_project: "Project") -> None:
    shutil.rmtree(copied_project.folder / "logs")
    (copied_project.folder / "results" / "tiny" / "report.html").unlink()
    copied_project.run()
    assert planned_jobs(copied_project) == set()


# One case that really runs


@pytest.mark.slow
def test_a_changed_run_runs_again_and_the_other_is_left_alone(copied_project: "Project") -> None:
    def checkpoint(run: str) -> tuple[bytes, int]:
        path = copied_project.folder / f"checkpoints/finetuned/tiny/{run}/seed-1/model.safetensors"
        return path.read_bytes(), path.stat().st_mtime_ns

    spam, assistant = checkpoint("spam"), checkpoint("assistant")
    unchanged = copied_project.config()
    set_in_config(copied_project, "runs.spam.training.learning_rate", 1e-3)
    copied_project.run()
    assert planned_jobs(copied_project) == set()
    assert checkpoint("spam")[0] != spam[0]
    assert checkpoint("assistant") == assistant

    copied_project.write_config(unchanged)
    assert planned_jobs(copied_project) == TRAIN_SPAM
    copied_project.run()
    assert planned_jobs(copied_project) == set()
    assert checkpoint("spam")[0] == spam[0]
