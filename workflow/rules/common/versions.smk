"""What DVC is told of, and when."""


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
