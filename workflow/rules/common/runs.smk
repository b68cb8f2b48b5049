"""Fine-tunings and trials: their settings, inputs and results."""


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
