"""What frozen blocks make of the texts, fine-tuning, and what the fine-tuned models answer on the test split."""


rule trunk_features:
    input:
        base=lambda wildcards: base_files(wildcards.model),
        tokens=lambda wildcards: (
            f"data/tokens/{MODELS[wildcards.model].tokenizer}/{wildcards.dataset}/{wildcards.split}.parquet"
        ),
    output:
        "cache/features/{model}/{dataset}/last-{trained_blocks}/length-{length}/{split}.npy",
    log:
        "logs/trunk_features/{model}/{dataset}/last-{trained_blocks}/length-{length}/{split}.log",
    benchmark:
        "logs/benchmarks/trunk_features/{model}/{dataset}/last-{trained_blocks}/length-{length}/{split}.jsonl"
    wildcard_constraints:
        model=one_of(MODELS),
        dataset=one_of(DATASETS),
    threads: THREADS
    resources:
        **of_inference(
            lambda wildcards: wildcards.model,
            lambda wildcards: 64,
            lambda wildcards: None if wildcards.length == "whole" else int(wildcards.length),
        ),
        features_gb=CONFIG.execution.features_gb,
    params:
        base=lambda wildcards, input: Path(input.base[0]).parent.as_posix(),
        max_length=lambda wildcards: 0 if wildcards.length == "whole" else wildcards.length,
        precision=CONFIG.precision,
        code=code_of("trunk_features.py"),
    shell:
        'python "$SCRIPTS/trunk_features.py" --base {params.base:q} --tokens {input.tokens:q}'
        " --trained-blocks {wildcards.trained_blocks} --max-length {params.max_length}"
        " --limit-gb {resources.features_gb} --precision {params.precision} --device {resources.device}"
        " --threads {threads} --output {output:q} 2>&1 | tee -i {log:q}"


rule finetune:
    input:
        tokens=run_tokens,
        tokenizer=run_tokenizer,
        base=run_base,
        features=lambda wildcards: run_features(wildcards.run, ("train", "validation")),
    output:
        checkpoint=[
            f"checkpoints/finetuned/{NAME}/{{run}}/seed-{{seed}}/{file}"
            for file in (
                "model.safetensors",
                "config.json",
                *TOKENIZER_FILES,
            )
        ],
        history=f"results/{NAME}/{{run}}/seed-{{seed}}/history.parquet",
        provenance=f"results/{NAME}/{{run}}/seed-{{seed}}/provenance.json",
    log:
        f"logs/finetune/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/finetune/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(PLAIN_RUNS),
    # What takes longest first, so that it is not what everything waits for in the end.
    priority: lambda wildcards: int(task_of(wildcards.run) == "instruction")
    threads: THREADS
    resources:
        **of_training(
            model_of_run,
            lambda wildcards: TRAININGS[wildcards.run].training,
            max_length_of_run,
        ),
    params:
        settings=training_slice,
        share=lambda wildcards: SHARES.get(wildcards.run, 1),
        tokens=lambda wildcards, input: Path(input.tokens[0]).parent.as_posix(),
        tokenizer=lambda wildcards, input: Path(input.tokenizer[0]).parent.as_posix(),
        base=lambda wildcards, input: Path(input.base[0]).parent.as_posix(),
        features=lambda wildcards: features_folder(wildcards.run),
        checkpoint=lambda wildcards, output: Path(output.checkpoint[0]).parent.as_posix(),
        precision=CONFIG.precision,
        code=code_of("finetune.py"),
    shell:
        'python "$SCRIPTS/finetune.py" --name {wildcards.run:q} --settings {params.settings:q}'
        " --share {params.share} --seed {wildcards.seed} --precision {params.precision} --device {resources.device} --threads {threads}"
        " --processes {resources.processes} --sharding {resources.sharding} --compile {resources.compile}"
        " --checkpoint-seconds {resources.checkpoint_seconds} --state-gb {resources.state_gb}"
        " --state-days {resources.state_days}"
        " --tokens {params.tokens:q} --tokenizer {params.tokenizer:q} --base {params.base:q}"
        " --features={params.features:q} --checkpoint {params.checkpoint:q} --history {output.history:q} --provenance {output.provenance:q}"
        " 2>&1 | tee -i {log:q}"


use rule finetune as finetune_lora with:
    output:
        checkpoint=[
            f"checkpoints/finetuned/{NAME}/{{run}}/seed-{{seed}}/{file}"
            for file in (
                "model.safetensors",
                "config.json",
                *TOKENIZER_FILES,
                "adapter.safetensors",
            )
        ],
        history=f"results/{NAME}/{{run}}/seed-{{seed}}/history.parquet",
        provenance=f"results/{NAME}/{{run}}/seed-{{seed}}/provenance.json",
    wildcard_constraints:
        run=one_of(LORA_RUNS),


rule predict:
    input:
        checkpoint=checkpoint_files,
        tokens=run_tokens,
        prepared=lambda wildcards: [
            f"data/prepared/{TRAININGS[wildcards.run].dataset}/{split}.parquet" for split in splits_of(wildcards.run)
        ],
        features=lambda wildcards: run_features(wildcards.run, splits_of(wildcards.run)),
    output:
        f"results/{NAME}/{{run}}/seed-{{seed}}/predictions.parquet",
    log:
        f"logs/predict/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/predict/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(training for training in TRAININGS if task_of(training) == "classification"),
    threads: THREADS
    resources:
        **of_inference(model_of_run, lambda wildcards: 64, max_length_of_run),
    params:
        splits=lambda wildcards: splits_of(wildcards.run),
        trained_blocks=lambda wildcards: TRAININGS[wildcards.run].trained_blocks or 0,
        features=lambda wildcards: features_folder(wildcards.run),
        tokens=lambda wildcards, input: Path(input.tokens[0]).parent.as_posix(),
        prepared=lambda wildcards, input: Path(input.prepared[0]).parent.as_posix(),
        checkpoint=lambda wildcards, input: Path(input.checkpoint[0]).parent.as_posix(),
        precision=CONFIG.precision,
        code=code_of("predict.py"),
    shell:
        'python "$SCRIPTS/predict.py" --splits {params.splits} --trained-blocks {params.trained_blocks}'
        " --features={params.features:q} --precision {params.precision} --device {resources.device} --threads {threads} --checkpoint {params.checkpoint:q}"
        " --tokens {params.tokens:q} --prepared {params.prepared:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule generate:
    input:
        checkpoint=[
            f"checkpoints/finetuned/{NAME}/{{run}}/seed-{{seed}}/{file}"
            for file in ("model.safetensors", "config.json")
        ],
        tokenizer=run_tokenizer,
        tokens=run_tokens,
        prepared=run_prepared,
    output:
        f"results/{NAME}/{{run}}/seed-{{seed}}/responses.jsonl",
    log:
        f"logs/generate/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/generate/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(INSTRUCTION_RUNS),
    threads: THREADS
    resources:
        **of_inference(model_of_run, lambda wildcards: generation_of(wildcards).batch_size, longest_answer_of_run),
    params:
        settings=generation_slice,
        checkpoint=lambda wildcards, input: Path(input.checkpoint[0]).parent.as_posix(),
        tokenizer=lambda wildcards, input: Path(input.tokenizer[0]).parent.as_posix(),
        tokens=lambda wildcards, input: Path(input.tokens[0]).parent.as_posix(),
        prepared=lambda wildcards, input: Path(input.prepared[0]).parent.as_posix(),
        precision=CONFIG.precision,
        code=code_of("generate.py"),
    shell:
        'python "$SCRIPTS/generate.py" --settings {params.settings:q} --precision {params.precision}'
        " --device {resources.device} --threads {threads} --checkpoint {params.checkpoint:q}"
        " --tokenizer {params.tokenizer:q} --tokens {params.tokens:q} --prepared {params.prepared:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"


use rule generate as generate_before with:
    input:
        checkpoint=run_base,
        tokenizer=run_tokenizer,
        tokens=run_tokens,
        prepared=run_prepared,
    output:
        f"results/{NAME}/{{run}}/before/responses.jsonl",
    log:
        f"logs/generate_before/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/generate_before/{NAME}/{{run}}.jsonl"
