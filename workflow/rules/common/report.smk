"""What the runs need, directly or not, and the records of how it was made."""


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
