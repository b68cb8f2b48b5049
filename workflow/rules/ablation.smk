"""The same model pretrained with each of its parts swapped; what a variant gives, and what it costs."""


localrules:
    ablation,


use rule pretrain as pretrain_variant with:
    input:
        tokens=ablated_tokens(["train", "validation"]),
        tokenizer=ablated_tokenizer,
    output:
        checkpoint=[
            f"checkpoints/ablation/{NAME}/{{variant}}/seed-{{seed}}/{file}"
            for file in (
                "model.safetensors",
                "config.json",
            )
        ],
        history=f"results/{NAME}/ablation/{{variant}}/seed-{{seed}}/history.parquet",
        provenance=f"results/{NAME}/ablation/{{variant}}/seed-{{seed}}/provenance.json",
    log:
        f"logs/pretrain_variant/{NAME}/{{variant}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/pretrain_variant/{NAME}/{{variant}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        variant=one_of(VARIANTS),
    resources:
        **of_training(variant_of, ablated_training, ablated_window),
    params:
        name=lambda wildcards: wildcards.variant,
        settings=variant_settings,
        tokenizer=lambda wildcards: ABLATED.tokenizer,
        seed=lambda wildcards: wildcards.seed,


rule score_variant:
    input:
        checkpoint=rules.pretrain_variant.output.checkpoint,
        tokenizer=ablated_tokenizer,
        tokens=ablated_tokens([SCORED]),
    output:
        f"results/{NAME}/ablation/{{variant}}/seed-{{seed}}/windows.parquet",
    log:
        f"logs/score_variant/{NAME}/{{variant}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/score_variant/{NAME}/{{variant}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        variant=one_of(VARIANTS),
    threads: THREADS
    resources:
        **of_inference(variant_of, lambda wildcards: 32, ablated_window),
    params:
        checkpoint=lambda wildcards, input: Path(input.checkpoint[0]).parent.as_posix(),
        tokenizer=lambda wildcards, input: Path(input.tokenizer[0]).parent.as_posix(),
        window=ablated_window,
        precision=CONFIG.precision,
        code=code_of("score_variant.py"),
    shell:
        'python "$SCRIPTS/score_variant.py" --precision {params.precision} --device {resources.device}'
        " --threads {threads} --checkpoint {params.checkpoint:q} --tokenizer {params.tokenizer:q}"
        " --tokens {input.tokens:q} --window {params.window} --output {output:q} 2>&1 | tee -i {log:q}"


rule measure_variants:
    input:
        tokens=ablated_tokens(["train"]),
        tokenizer=ablated_tokenizer,
    output:
        f"results/{NAME}/ablation/steps.json",
    log:
        f"logs/measure_variants/{NAME}.log",
    benchmark:
        f"logs/benchmarks/measure_variants/{NAME}.jsonl"
    # Nothing else runs beside it; of these cores it uses as many as a training has.
    threads: workflow.cores or THREADS
    resources:
        device=DEVICE,
        gpu=int(USES_GPUS),
        compile=CONFIG.execution.compile,
        training_threads=lambda wildcards, threads: min(threads, THREADS),
        mem_mb=measuring_memory_mb,
        runtime=lambda wildcards: max(map(needs.training_minutes, VARIANTS.values())),
    params:
        pretrain=lambda wildcards: canonical_json(ABLATED.pretrain),
        architectures=lambda wildcards: canonical_json(
            {name: shape.model_dump(mode="json", exclude_defaults=True) for name, shape in VARIANTS.items()}
        ),
        tokenizer=lambda wildcards: ABLATED.tokenizer,
        precision=CONFIG.precision,
        code=code_of("measure_variants.py"),
    shell:
        'python "$SCRIPTS/measure_variants.py" --pretrain {params.pretrain:q} --architectures {params.architectures:q}'
        " --precision {params.precision} --device {resources.device} --threads {resources.training_threads}"
        " --compile {resources.compile} --tokens data/tokens/{params.tokenizer:q}"
        " --tokenizer checkpoints/tokenizers/{params.tokenizer:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule ablation:
    input:
        windows=variant_files("windows.parquet"),
        histories=variant_files("history.parquet"),
        steps=rules.measure_variants.output,
    output:
        f"results/{NAME}/ablation/summary.json",
    log:
        f"logs/ablation/{NAME}.log",
    benchmark:
        f"logs/benchmarks/ablation/{NAME}.jsonl"
    params:
        settings=evaluation_slice,
        model=lambda wildcards: ABLATION.model,
        split=SCORED,
        variants=lambda wildcards: canonical_json([[name, ABLATION.variants.get(name, {})] for name in VARIANTS]),
        seeds=lambda wildcards: ABLATION.seeds,
        results=lambda wildcards, output: Path(output[0]).parent.as_posix(),
        code=code_of("ablation.py"),
    shell:
        'python "$SCRIPTS/ablation.py" --settings {params.settings:q} --model {params.model:q} --split {params.split}'
        " --variants {params.variants:q} --seeds {params.seeds} --results {params.results:q} --steps {input.steps:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"
