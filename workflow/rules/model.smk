"""Base models: downloaded, imported, pretrained or random; each verified against transformers."""


localrules:
    download_weights,
    download_gguf,


rule download_weights:
    output:
        "checkpoints/downloads/{model}/model.safetensors",
    log:
        "logs/download_weights/{model}.log",
    benchmark:
        "logs/benchmarks/download_weights/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("huggingface")),
    resources:
        mirror=MIRROR,
        limits=limits,
    params:
        sources=lambda wildcards: as_sources([MODELS[wildcards.model].huggingface.source]),
        code=code_of("download_weights.py"),
    shell:
        'python "$SCRIPTS/download_weights.py" --sources {params.sources:q} --mirror={resources.mirror:q}'
        " --limits {resources.limits:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"


rule convert_weights:
    input:
        weights="checkpoints/downloads/{model}/model.safetensors",
        tokenizer=lambda wildcards: tokenizer_files(MODELS[wildcards.model].tokenizer),
    output:
        "checkpoints/base/{model}/model.safetensors",
        "checkpoints/base/{model}/config.json",
    log:
        "logs/convert_weights/{model}.log",
    benchmark:
        "logs/benchmarks/convert_weights/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("huggingface")),
    resources:
        **of_weights(lambda wildcards: wildcards.model),
    params:
        architecture=lambda wildcards: canonical_json(MODELS[wildcards.model].architecture),
        tokenizer=lambda wildcards: f"checkpoints/tokenizers/{MODELS[wildcards.model].tokenizer}",
        code=code_of("convert_weights.py"),
    shell:
        'python "$SCRIPTS/convert_weights.py" --architecture {params.architecture:q} --weights {input.weights:q}'
        " --tokenizer {params.tokenizer:q} --output checkpoints/base/{wildcards.model:q} 2>&1 | tee -i {log:q}"


rule download_gguf:
    input:
        lambda wildcards: own_gguf(wildcards.model),
    output:
        "checkpoints/downloads/{model}/model.gguf",
    log:
        "logs/download_gguf/{model}.log",
    benchmark:
        "logs/benchmarks/download_gguf/{model}.jsonl"
    wildcard_constraints:
        model=one_of(FETCHED_GGUF),
    resources:
        mirror=MIRROR,
        limits=limits,
    params:
        sources=lambda wildcards: as_sources(MODELS[wildcards.model].gguf),
        content=lambda wildcards: own_gguf_contents(wildcards.model),
        code=code_of("download_weights.py"),
    shell:
        'python "$SCRIPTS/download_weights.py" --sources {params.sources:q} --mirror={resources.mirror:q}'
        " --limits {resources.limits:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"


rule convert_gguf:
    input:
        weights=lambda wildcards: gguf_file(wildcards.model),
        tokenizer=lambda wildcards: tokenizer_files(MODELS[wildcards.model].tokenizer),
    output:
        "checkpoints/base/{model}/model.safetensors",
        "checkpoints/base/{model}/config.json",
    log:
        "logs/convert_gguf/{model}.log",
    benchmark:
        "logs/benchmarks/convert_gguf/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("gguf")),
    resources:
        **of_weights(lambda wildcards: wildcards.model),
    params:
        content=lambda wildcards: own_gguf_contents(wildcards.model),
        tokenizer=lambda wildcards: f"checkpoints/tokenizers/{MODELS[wildcards.model].tokenizer}",
        code=code_of("convert_gguf.py"),
    shell:
        'python "$SCRIPTS/convert_gguf.py" --weights {input.weights:q} --tokenizer {params.tokenizer:q}'
        " --output checkpoints/base/{wildcards.model:q} 2>&1 | tee -i {log:q}"


rule import_checkpoint:
    input:
        weights=lambda wildcards: [imported_folder(wildcards) / file for file in ("model.safetensors", "config.json")],
        tokenizer=lambda wildcards: tokenizer_files(MODELS[wildcards.model].tokenizer),
    output:
        "checkpoints/base/{model}/model.safetensors",
        "checkpoints/base/{model}/config.json",
    log:
        "logs/import_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/import_checkpoint/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("path")),
    resources:
        **of_weights(lambda wildcards: wildcards.model),
    params:
        folder=lambda wildcards: imported_folder(wildcards).as_posix(),
        content=imported_content,
        tokenizer=lambda wildcards: f"checkpoints/tokenizers/{MODELS[wildcards.model].tokenizer}",
        code=code_of("import_checkpoint.py"),
    shell:
        'python "$SCRIPTS/import_checkpoint.py" --folder {params.folder:q} --tokenizer {params.tokenizer:q}'
        " --output checkpoints/base/{wildcards.model:q} 2>&1 | tee -i {log:q}"


rule pretrain:
    input:
        tokens=lambda wildcards: [
            file
            for dataset in MODELS[wildcards.model].pretrain.datasets
            for file in tokens_of(dataset, MODELS[wildcards.model].tokenizer)[:2]
        ],
        tokenizer=lambda wildcards: tokenizer_files(MODELS[wildcards.model].tokenizer),
    output:
        checkpoint=[
            "checkpoints/base/{model}/model.safetensors",
            "checkpoints/base/{model}/config.json",
        ],
        history="checkpoints/base/{model}/history.parquet",
        provenance="checkpoints/base/{model}/provenance.json",
    log:
        "logs/pretrain/{model}.log",
    benchmark:
        "logs/benchmarks/pretrain/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("pretrain")),
    priority: 1
    threads: THREADS
    resources:
        **of_training(
            lambda wildcards: wildcards.model,
            lambda wildcards: MODELS[wildcards.model].pretrain.training,
            lambda wildcards: MODELS[wildcards.model].pretrain.window,
        ),
    params:
        name=lambda wildcards: wildcards.model,
        settings=model_settings,
        tokenizer=lambda wildcards: MODELS[wildcards.model].tokenizer,
        seed=CONFIG.seed,
        checkpoint=lambda wildcards, output: Path(output.checkpoint[0]).parent.as_posix(),
        precision=CONFIG.precision,
        code=code_of("pretrain.py"),
    shell:
        'python "$SCRIPTS/pretrain.py" --name {params.name:q} --settings {params.settings:q} --seed {params.seed}'
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " --processes {resources.processes} --sharding {resources.sharding} --compile {resources.compile}"
        " --checkpoint-seconds {resources.checkpoint_seconds} --state-gb {resources.state_gb}"
        " --state-days {resources.state_days}"
        " --tokens data/tokens/{params.tokenizer:q} --tokenizer checkpoints/tokenizers/{params.tokenizer:q}"
        " --checkpoint {params.checkpoint:q} --history {output.history:q} --provenance {output.provenance:q}"
        " 2>&1 | tee -i {log:q}"


rule random_weights:
    input:
        tokenizer=lambda wildcards: tokenizer_files(MODELS[wildcards.model].tokenizer),
    output:
        "checkpoints/base/{model}/model.safetensors",
        "checkpoints/base/{model}/config.json",
    log:
        "logs/random_weights/{model}.log",
    benchmark:
        "logs/benchmarks/random_weights/{model}.jsonl"
    wildcard_constraints:
        model=one_of(models_from("random")),
    resources:
        **of_weights(lambda wildcards: wildcards.model),
    params:
        architecture=lambda wildcards: canonical_json(MODELS[wildcards.model].architecture),
        tokenizer=lambda wildcards: MODELS[wildcards.model].tokenizer,
        seed=CONFIG.seed,
        code=code_of("random_weights.py"),
    shell:
        'python "$SCRIPTS/random_weights.py" --architecture {params.architecture:q} --seed {params.seed}'
        " --tokenizer checkpoints/tokenizers/{params.tokenizer:q} --output checkpoints/base/{wildcards.model:q}"
        " 2>&1 | tee -i {log:q}"


rule verify_weights:
    input:
        checkpoint=lambda wildcards: base_files(wildcards.model),
        original=imported_files,
    output:
        "checkpoints/base/{model}/verification.json",
    log:
        "logs/verify_weights/{model}.log",
    benchmark:
        "logs/benchmarks/verify_weights/{model}.jsonl"
    resources:
        **of_weights(lambda wildcards: wildcards.model),
    params:
        code=code_of("verify_weights.py"),
    shell:
        'python "$SCRIPTS/verify_weights.py" --checkpoint checkpoints/base/{wildcards.model:q}'
        " --original {input.original:q} --output {output:q} 2>&1 | tee -i {log:q}"
