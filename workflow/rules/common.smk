"""The validated config, and from it the slices, files and lists that the rules are made of."""

import atexit
import dataclasses
import functools
import hashlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG

from gptsmith.checkpoint.folder import config_file, weights_file
from gptsmith.code_version import code_version
from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.config.load import canonical_json, load_config
from gptsmith.config.runs import LoRAOnly
from gptsmith.errors import UserError
from gptsmith.files import sha256_of
from gptsmith.versions.contents import Contents, RunContents, has_changed, is_versioned
from gptsmith.versions.records import install_records

try:
    CONFIG = load_config(config)
except UserError as error:
    sys.exit(f"error: {error}")

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# Jobs run this Python, also where its environment was not activated. (As a part of each shell
# command the paths would make a moved project rerun.)
# In them `tee -i` outlives a Ctrl-C: the last words of a script are shown and kept. SIGTERM, which a cluster sends to
# all processes of a job before it takes the machine away, is the script's alone: bash and tee wait until it has saved.
# Threads that wait for each other sleep (OpenMP's default is to spin, which takes a core that anything else may want:
# docs/performance.md).
shell.prefix(
    "set -euo pipefail; trap : TERM; tee() {{ trap '' TERM; exec tee \"$@\"; }}; "
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" SCRIPTS={shlex.quote(str(SCRIPTS))} OMP_WAIT_POLICY=${{{{OMP_WAIT_POLICY:-passive}}}}; "
)

NAME, DATASETS, TOKENIZERS, MODELS, RUNS = (
    getattr(CONFIG, key) for key in ("name", "datasets", "tokenizers", "models", "runs")
)
# Resources, unlike params, are no reason to rerun: how a run is executed is not what it computes.
DEVICE, MIRROR, THREADS = CONFIG.execution.device, CONFIG.execution.mirror or "", CONFIG.execution.threads
SPLITS = ("train", "validation", "test")
REPORT = f"results/{NAME}/report.html"
PIECES = f"results/{NAME}/report"
METRICS = f"results/{NAME}/metrics.json"
# By `gptsmith check`, where it was asked.
ESTIMATE = f"results/{NAME}/estimate.json"


def limits(_wildcards):
    """As JSON: a function, because Snakemake takes braces in a plain string for wildcards."""
    return canonical_json(CONFIG.execution.limits)


def one_of(names):
    """Regular expression of a wildcard that stands for one of `names`, and for nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def code_of(script):
    return code_version(SCRIPTS / script)


def files_version(folder, patterns):
    """Hash of the content of the files in a folder of the project that are not Python."""
    found = sorted(file for pattern in patterns for file in (Path(workflow.basedir) / folder).glob(pattern))
    return hashlib.sha256(b"".join(map(Path.read_bytes, found))).hexdigest()[:16]


@functools.cache
def content_of(file):
    """Hash of a file of the user's own, for params: Snakemake compares the contents of inputs that
    have a newer date than the outputs, so it would miss that an older file was put in a file's place."""
    return sha256_of(file)[:16]


# Datasets


# What datasets are read from, by folder in data/raw: `messages`, and `messages/test` where the test split is a file of
# its own.
RAW = {name: dataset.sources for name, dataset in DATASETS.items()}
RAW |= {f"{name}/test": tests for name, d in DATASETS.items() if (tests := getattr(d, "test_sources", None))}


def own_source(folder):
    """The `path:` source, or None where the file is downloaded."""
    source = RAW[folder][0]
    return source if source.path is not None else None


def is_downloaded(folder):
    return own_source(folder) is None


def is_extracted(folder):
    source = own_source(folder)
    return source is None or source.member is not None or source.sha256 is not None


EXTENSIONS = {"text": "txt"}


def extracted_file(folder):
    dataset = folder.partition("/")[0]
    kind = DATASETS[dataset].format.type
    return f"data/raw/{folder}/{dataset}.{EXTENSIONS.get(kind, kind)}"


def file_to_read(folder):
    """A user's own file where it lies, or what was extracted."""
    return extracted_file(folder) if is_extracted(folder) else own_source(folder).path


def raw_file(wildcards):
    return file_to_read(wildcards.dataset)


def test_file(wildcards):
    """The file with the test split, where there is one."""
    folder = f"{wildcards.dataset}/test"
    return file_to_read(folder) if folder in RAW else []


def own_content(folder):
    source = own_source(folder)
    return content_of(source.path) if source else ""


def own_contents(wildcards):
    """Of all files that a dataset is prepared from."""
    return "".join(own_content(folder) for folder in raw_folders([wildcards.dataset]))


def raw_folders(datasets):
    """In data/raw."""
    return [folder for folder in RAW if folder.partition("/")[0] in datasets]


def archive_of(wildcards):
    source = own_source(wildcards.folder)
    return source.path if source else f"data/raw/{wildcards.folder}/archive"


def sources_of(folder):
    return as_sources(RAW[folder])


def as_sources(sources):
    return canonical_json([source.model_dump(exclude_none=True) for source in sources])


def preparation_of(dataset):
    """Settings of a dataset that decide its rows."""
    settings = DATASETS[dataset].model_dump(
        mode="json", exclude_defaults=True, exclude={"sources", "shards", "test_sources"}
    )
    return canonical_json({**settings, "sources": [{"path": "raw"}]})


SHARDED = [name for name, dataset in DATASETS.items() if dataset.shards > 1]
NOT_SHARDED = [name for name in DATASETS if name not in SHARDED]


def shards_of(dataset):
    """`1-of-8` and so on."""
    total = DATASETS[dataset].shards
    return [f"{number}-of-{total}" for number in range(1, total + 1)]


# Tokenizers

TRAINED_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.is_trained]
PUBLISHED_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.vocab is not None]
GGUF_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.gguf is not None]
RULES_OF_TOKENIZERS = (
    dict.fromkeys(TRAINED_TOKENIZERS, "train_tokenizer")
    | dict.fromkeys(PUBLISHED_TOKENIZERS, "fetch_tokenizer")
    | dict.fromkeys(GGUF_TOKENIZERS, "gguf_tokenizer")
)


def tokenizer_files(tokenizer):
    return [f"checkpoints/tokenizers/{tokenizer}/{file}" for file in TOKENIZER_FILES]


def local_files_of_tokenizer(wildcards):
    """Files of the user's own that a published tokenizer is read from."""
    tokenizer = TOKENIZERS[wildcards.tokenizer]
    return [source.path for source in (*tokenizer.vocab, *tokenizer.merges) if source.path is not None]


def token_shards(wildcards):
    """The folders of a dataset's shards, in order."""
    folder = f"cache/shards/{wildcards.dataset}/{wildcards.tokenizer}"
    return [f"{folder}/{shard}" for shard in shards_of(wildcards.dataset)]


def tokens_of(dataset, tokenizer):
    return [f"data/tokens/{tokenizer}/{dataset}/{split}.parquet" for split in SPLITS]


# Models


def models_from(origin):
    return [name for name, model in MODELS.items() if model.origin == origin]


def own_gguf(model):
    """The file of the user's own that a model is in."""
    return [source.path for source in MODELS[model].gguf if source.path is not None]


def own_gguf_contents(model):
    return [content_of(file) for file in own_gguf(model)]


def is_fetched(model):
    """Whether its GGUF file is downloaded or taken out of an archive; otherwise it is read where it lies."""
    return any(source.path is None or source.member or source.sha256 for source in MODELS[model].gguf)


FETCHED_GGUF = [model for model in models_from("gguf") if is_fetched(model)]


def gguf_file(model):
    return f"checkpoints/downloads/{model}/model.gguf" if model in FETCHED_GGUF else MODELS[model].gguf[0].path


def base_files(model):
    return [f"checkpoints/base/{model}/{file}" for file in ("model.safetensors", "config.json")]


# Checkpoints of this config's runs: a model may start from one.
FINETUNED = {Path(f"checkpoints/finetuned/{NAME}/{run}/seed-{seed}") for run in RUNS for seed in RUNS[run].seeds}


def imported_folder(wildcards):
    """Where a model with a `path` is."""
    return Path(MODELS[wildcards.model].path)


def imported_content(wildcards):
    folder = imported_folder(wildcards)
    return [] if folder in FINETUNED else [content_of(file) for file in (config_file(folder), weights_file(folder))]


def model_settings(wildcards):
    return canonical_json(MODELS[wildcards.model])


def imported_files(wildcards):
    """The weights a model was imported from, to verify it against; none for models made here."""
    model = MODELS[wildcards.model]
    if model.huggingface is not None:
        return f"checkpoints/downloads/{wildcards.model}/model.safetensors"
    return imported_folder(wildcards) / "model.safetensors" if model.path is not None else []


# Runs


def runs_of(task):
    return [name for name, run in RUNS.items() if DATASETS[run.dataset].task == task]


CLASSIFICATION_RUNS, INSTRUCTION_RUNS = runs_of("classification"), runs_of("instruction")
JUDGED_RUNS = INSTRUCTION_RUNS if CONFIG.evaluation.judge is not None else []
SWEPT_RUNS = [name for name, run in RUNS.items() if run.grid]
CURVE_RUNS = [name for name, run in RUNS.items() if run.learning_curve]

# Trials are trainings whose checkpoints nobody is given: the combinations of a run's grid, of which one becomes the
# run, and trainings on a share of the data. Rules know them by names like `spam/grid/trainable-head` where they know
# a run as `spam`.
MEMBERS = {
    f"{run}/grid/{combination}": RUNS[run].chosen(values)
    for run in SWEPT_RUNS
    for combination, values in RUNS[run].combinations.items()
}
SHARES = {f"{run}/learning-curve/share-{share}": share for run in CURVE_RUNS for share in RUNS[run].learning_curve}
TRAININGS = RUNS | MEMBERS | {trial: RUNS[trial.partition("/")[0]] for trial in SHARES}
TRIALS = [*MEMBERS, *SHARES]
LORA_RUNS = [name for name, run in RUNS.items() if isinstance(run.trainable, LoRAOnly) and name not in SWEPT_RUNS]
PLAIN_RUNS = [name for name in RUNS if name not in {*SWEPT_RUNS, *LORA_RUNS}]


def task_of(training):
    return DATASETS[TRAININGS[training].dataset].task


def trials_of(run):
    return [trial for trial in TRIALS if trial.startswith(f"{run}/")]


def seed_folders(training):
    return [f"results/{NAME}/{training}/seed-{seed}" for seed in TRAININGS[training].seeds]


def answers_of_trials(run):
    """What the trials of a run gave on the split that they are measured on."""
    file = "predictions.parquet" if run in CLASSIFICATION_RUNS else "likelihoods.parquet"
    return [f"{folder}/{file}" for trial in trials_of(run) for folder in seed_folders(trial)]


def checkpoint_files(wildcards):
    kind = "trials" if wildcards.run in TRIALS else "finetuned"
    folder = f"checkpoints/{kind}/{NAME}/{wildcards.run}/seed-{wildcards.seed}"
    return [f"{folder}/{file}" for file in ("model.safetensors", "config.json")]


def splits_of(training):
    """Those that a model answers: a grid's combinations never see the test split, and a share chooses nothing."""
    if training in MEMBERS:
        return ["validation"]
    return ["test"] if training in SHARES else ["validation", "test"]


def run_slice(run, exclude):
    return canonical_json(TRAININGS[run].model_dump(mode="json", exclude_defaults=True, exclude=exclude))


def training_slice(wildcards):
    return run_slice(wildcards.run, {"seeds", "generation", "learning_curve"})


def generation_slice(wildcards):
    training = {"training", "trainable", "loss_on", "max_length", "class_weights", "grid", "learning_curve"}
    return run_slice(wildcards.run, {"seeds", *training})


def tokenizer_of(run):
    return MODELS[TRAININGS[run].model].tokenizer


def run_tokens(wildcards):
    return tokens_of(TRAININGS[wildcards.run].dataset, tokenizer_of(wildcards.run))


def run_tokenizer(wildcards):
    return tokenizer_files(tokenizer_of(wildcards.run))


def run_base(wildcards):
    return base_files(TRAININGS[wildcards.run].model)


def features_folder(run):
    """Where the run finds what its frozen blocks make of the texts; "" when none stays as it was, or when it is
    decided later which."""
    settings = TRAININGS[run]
    if settings.trained_blocks is None or settings.grid:
        return ""
    length = settings.max_length or "whole"
    return f"cache/features/{settings.model}/{settings.dataset}/last-{settings.trained_blocks}/length-{length}"


def run_features(run, splits):
    """Their age does not matter: whatever changes them changes another input or parameter of the run as well."""
    folder = features_folder(run)
    return [ancient(f"{folder}/{split}.npy") for split in splits] if folder else []


def run_prepared(wildcards):
    return [f"data/prepared/{RUNS[wildcards.run].dataset}/{part}" for part in ("test.parquet", "report.json")]


def run_training_rows(wildcards):
    return f"data/prepared/{RUNS[wildcards.run].dataset}/train.parquet"


# Datasets of several runs, which are compared with each other.
COMPARED = {
    dataset: runs
    for dataset in DATASETS
    if len(runs := [name for name, run in RUNS.items() if run.dataset == dataset]) > 1
}


def answers_of(wildcards):
    """What each seed of a run gave on the test split."""
    file = "predictions.parquet" if wildcards.run in CLASSIFICATION_RUNS else "responses.jsonl"
    return [f"{folder}/{file}" for folder in seed_folders(wildcards.run)]


def answers_of_dataset(wildcards):
    file = "responses.jsonl" if DATASETS[wildcards.dataset].task == "instruction" else "predictions.parquet"
    return seed_files(COMPARED[wildcards.dataset], file)


def before_of(wildcards):
    """Responses before fine-tuning; none for classification, whose base model has no classes."""
    return f"results/{NAME}/{wildcards.run}/before/responses.jsonl" if wildcards.run in INSTRUCTION_RUNS else []


def sides_of(run):
    """Folders with responses of a run."""
    return ["before", *(f"seed-{seed}" for seed in RUNS[run].seeds)]


def judgements_of(run, sides):
    return [f"results/{NAME}/{run}/{side}/judgements.jsonl" for side in sides] if run in JUDGED_RUNS else []


def evaluation_slice(_wildcards):
    """The judge has a rule of its own."""
    return canonical_json(CONFIG.evaluation.model_dump(mode="json", exclude_defaults=True, exclude={"judge"}))


# The ablation

ABLATION = CONFIG.ablation
ABLATED = MODELS[ABLATION.model] if ABLATION else None
# Name of each row -> its shape.
VARIANTS = ABLATION.architectures(ABLATED.architecture) if ABLATION else {}


def variant_folders():
    """Of its trainings, wherever they lie."""
    return [f"{variant}/seed-{seed}" for variant in VARIANTS for seed in ABLATION.seeds]


def variant_files(file):
    return [f"results/{NAME}/ablation/{folder}/{file}" for folder in variant_folders()]


# Where the losses are measured: on the test split, if one of the datasets has one.
SCORED = "test" if ABLATION and any(DATASETS[name].split.test for name in ABLATED.pretrain.datasets) else "validation"


def ablated_tokenizer(_wildcards):
    return tokenizer_files(ABLATED.tokenizer)


def ablated_tokens(splits):
    return lambda wildcards: [
        f"data/tokens/{ABLATED.tokenizer}/{dataset}/{split}.parquet"
        for dataset in ABLATED.pretrain.datasets
        for split in splits
    ]


def variant_settings(wildcards):
    return canonical_json(ABLATED.model_copy(update={"architecture": VARIANTS[wildcards.variant]}))


def variant_of(wildcards):
    return VARIANTS[wildcards.variant]


def ablated_training(_wildcards):
    return ABLATED.pretrain.training


def ablated_window(_wildcards):
    return ABLATED.pretrain.window or ABLATED.architecture.context_length


# The report


def report_settings(wildcards):
    return canonical_json(CONFIG.model_dump(mode="json", exclude={"execution"}, exclude_defaults=True))


# What the runs need, directly or not: only this is made, and only this is in the report.
USED_MODELS = list(dict.fromkeys(run.model for run in RUNS.values()))
ABLATED_MODELS = [ABLATION.model] if ABLATION else []
USED_TOKENIZERS = list(dict.fromkeys(MODELS[model].tokenizer for model in USED_MODELS + ABLATED_MODELS))
# Models whose GGUF file is read, for its weights or its tokenizer.
USED_GGUF = list(
    dict.fromkeys(
        [model for model in USED_MODELS if MODELS[model].gguf is not None]
        + [TOKENIZERS[t].gguf for t in USED_TOKENIZERS if TOKENIZERS[t].gguf is not None]
    )
)
DOWNLOADED_WEIGHTS = [
    f"checkpoints/downloads/{model}/model.safetensors" for model in USED_MODELS if MODELS[model].huggingface is not None
] + [gguf_file(model) for model in USED_GGUF if model in FETCHED_GGUF]
PRETRAINED_MODELS = [model for model in USED_MODELS if MODELS[model].pretrain is not None]
TOKENIZED = list(
    dict.fromkeys(
        [(tokenizer_of(name), run.dataset) for name, run in RUNS.items()]
        + [
            (MODELS[m].tokenizer, dataset)
            for m in PRETRAINED_MODELS + ABLATED_MODELS
            for dataset in MODELS[m].pretrain.datasets
        ]
    )
)
USED_DATASETS = list(
    dict.fromkeys(
        [dataset for _, dataset in TOKENIZED]
        + [dataset for tokenizer in USED_TOKENIZERS for dataset in TOKENIZERS[tokenizer].train_on or []]
    )
)


def seed_files(runs, file):
    return [f"{folder}/{file}" for run in runs for folder in seed_folders(run)]


def stage_records(_wildcards):
    """Snakemake's benchmark file of every job before the report: time and memory.

    Sorted, so that the order of the config is no reason to rerun.
    """
    jobs = [f"download/{folder}" for folder in raw_folders(USED_DATASETS) if is_downloaded(folder)]
    jobs += [
        f"extract/{extracted_file(folder).removeprefix('data/raw/')}"
        for folder in raw_folders(USED_DATASETS)
        if is_extracted(folder)
    ]
    jobs += [f"prepare/{dataset}" for dataset in USED_DATASETS]
    jobs += [
        f"read_shard/{dataset}/{shard}"
        for dataset in USED_DATASETS
        if dataset in SHARDED
        for shard in shards_of(dataset)
    ]
    jobs += [f"{RULES_OF_TOKENIZERS[tokenizer]}/{tokenizer}" for tokenizer in USED_TOKENIZERS]
    jobs += [f"download_gguf/{model}" for model in USED_GGUF if model in FETCHED_GGUF]
    jobs += [f"tokenize/{tokenizer}/{dataset}" for tokenizer, dataset in TOKENIZED]
    jobs += [
        f"tokenize_shard/{t}/{dataset}/{shard}"
        for t, dataset in TOKENIZED
        if dataset in SHARDED
        for shard in shards_of(dataset)
    ]
    jobs += [f"{rule}/{model}" for model in USED_MODELS for rule in RULES_OF_ORIGIN[MODELS[model].origin]]
    jobs += [f"verify_weights/{model}" for model in USED_MODELS]
    jobs += [f"{rule}/{NAME}/{run}" for run in RUNS for rule in ("baselines", "summarize")]
    jobs += [f"comparisons/{NAME}/{dataset}" for dataset in COMPARED]
    jobs += [f"generate_before/{NAME}/{run}" for run in INSTRUCTION_RUNS]
    jobs += [f"judge/{NAME}/{run}/{side}" for run in JUDGED_RUNS for side in sides_of(run)]
    jobs += [f"{rule}/{NAME}/{run}" for run in SWEPT_RUNS for rule in ("choose", "sweep")]
    jobs += [f"learning_curve/{NAME}/{run}" for run in CURVE_RUNS]
    jobs += [f"{rule}/{NAME}/{of}" for of in variant_folders() for rule in ("pretrain_variant", "score_variant")]
    jobs += [f"{rule}/{NAME}" for rule in ("measure_variants", "ablation") if ABLATION]
    for run, settings in TRAININGS.items():
        rules_of_seed = ["keep_chosen" if run in SWEPT_RUNS else "finetune"]
        if task_of(run) == "classification":
            rules_of_seed.append("predict")
        else:
            rules_of_seed.append("score_trial" if run in TRIALS else "generate")
        if run in RUNS:
            rules_of_seed.append("evaluate")
        jobs += [f"{rule}/{NAME}/{run}/seed-{seed}" for seed in settings.seeds for rule in rules_of_seed]
        if folder := features_folder(run):
            splits = {"train", "validation", *(splits_of(run) if task_of(run) == "classification" else ())}
            features = folder.removeprefix("cache/features")
            jobs += [f"trunk_features{features}/{split}" for split in splits]
    return sorted(f"logs/benchmarks/{job}.jsonl" for job in set(jobs))


RULES_OF_ORIGIN = {
    "pretrain": ["pretrain"],
    "random": ["random_weights"],
    "path": ["import_checkpoint"],
    "huggingface": ["download_weights", "convert_weights"],
    "gguf": ["convert_gguf"],
}


# Versions


def own_files():
    """Sources of the user's own that DVC was told to keep (`dvc add`)."""
    sources = [source for folder in raw_folders(USED_DATASETS) for source in RAW[folder]]
    sources += [s for t in USED_TOKENIZERS for s in (*(TOKENIZERS[t].vocab or []), *(TOKENIZERS[t].merges or []))]
    sources += [source for model in USED_GGUF for source in MODELS[model].gguf]
    paths = [source.path for source in sources] + [MODELS[model].path for model in USED_MODELS]
    given = [Path(path).as_posix() for path in paths if path is not None]
    return [path for path in given if Path(f"{path}.dvc").is_file()]


MADE = (
    [f"data/raw/{dataset}" for dataset in USED_DATASETS if any(map(is_extracted, raw_folders([dataset])))]
    + [f"data/prepared/{dataset}" for dataset in USED_DATASETS]
    + [f"data/tokens/{tokenizer}/{dataset}" for tokenizer, dataset in TOKENIZED]
    + [f"checkpoints/tokenizers/{tokenizer}" for tokenizer in USED_TOKENIZERS]
    + [f"checkpoints/base/{model}" for model in USED_MODELS]
    + [f"{kind}/{NAME}/{run}" for run in RUNS for kind in ("checkpoints/finetuned", "results")]
    + ([f"results/{NAME}/comparisons"] if COMPARED else [])
    + ([f"results/{NAME}/ablation"] if ABLATION else [])
)
CONTENTS = Contents(
    name=NAME,
    units=own_files()
    + MADE
    + [ESTIMATE for file in (ESTIMATE, f"{ESTIMATE}.dvc") if Path(file).is_file()][:1]
    + [REPORT, PIECES],
    datasets=USED_DATASETS,
    models=USED_MODELS,
    runs={name: RunContents(run.dataset, run.seeds) for name, run in RUNS.items()},
)
VERSIONS = CONFIG.execution.versions


def versioned_contents(_wildcards=None):
    return canonical_json(dataclasses.asdict(CONTENTS))


def remote_options(_wildcards):
    options = {"remote": VERSIONS.remote, "endpoint": VERSIONS.endpoint}
    return [f"--{option}={value}" for option, value in options.items() if value is not None]


def track_if_changed():
    """Record what a run made. A failure is told, and the run stays a success: what it made is there."""
    if not (VERSIONS.track and is_versioned(Path.cwd()) and has_changed(Path.cwd(), CONTENTS)):
        return
    command = [sys.executable, SCRIPTS / "track.py", "--contents", versioned_contents()]
    if subprocess.run(command).returncode:
        print("The run is complete, but not recorded as a version. Later: snakemake --cores 1 track", file=sys.stderr)


# Files of the user's own


def missing_files():
    """A line for each file or folder that the config names, the runs need, and is not there."""
    sources = {f"datasets.{name}.sources": DATASETS[name].sources for name in USED_DATASETS}
    sources |= {f"datasets.{name}.test_sources": RAW[f"{name}/test"] for name in USED_DATASETS if f"{name}/test" in RAW}
    for name in USED_TOKENIZERS:
        sources[f"tokenizers.{name}.vocab"] = TOKENIZERS[name].vocab or []
        sources[f"tokenizers.{name}.merges"] = TOKENIZERS[name].merges or []
    sources |= {f"models.{name}.gguf": MODELS[name].gguf for name in USED_GGUF}
    for place, alternatives in sources.items():
        for source in alternatives:
            if source.path is not None and not Path(source.path).is_file():
                yield f"{place}: no such file: {source.path}{folder_of(source.path)}"
    for name in USED_MODELS:
        if (path := MODELS[name].path) is None or Path(path) in FINETUNED:
            continue
        if not Path(path).is_dir():
            yield f"models.{name}.path: no such folder: {path}{folder_of(path)}"
            continue
        try:
            config_file(Path(path)), weights_file(Path(path))
        except UserError as error:
            yield f"models.{name}.path: {error}"


def folder_of(path):
    return "" if Path(path).is_absolute() else f" (in {Path.cwd()})"


# `restore` may be what brings them. (Snakemake itself knows its targets only later.)
if "restore" not in sys.argv and (missing := list(missing_files())):
    sys.exit("error: " + "\n".join(missing))


# The end of a run


def tell_report():
    if Path(REPORT).is_file():
        print(f"Report: {Path(REPORT).absolute()}")


def tell_report_if_all_is_done(record):
    """A filter that keeps every log record: a run with nothing to do ends without `onsuccess`."""
    if record.msg == NOTHING_TO_BE_DONE_MSG:
        atexit.register(tell_report)
    return True


STARTED = time.time()


def causes():
    """The plain lines that scripts failed with since this start: from `error: ` to the end of their logs."""
    logs = [log for log in Path("logs").rglob("*.log") if log.stat().st_mtime >= STARTED]
    for log in sorted(logs, key=lambda log: log.stat().st_mtime):
        if (cause := re.search(r"^error: .*", log.read_text(errors="replace"), re.MULTILINE | re.DOTALL)) is not None:
            yield cause[0].strip()
