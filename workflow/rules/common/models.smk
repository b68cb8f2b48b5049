"""Files of base models, and what they are made of."""


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
