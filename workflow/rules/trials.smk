"""Trials: a grid's combinations, of which the best on the validation split becomes the run, and trainings on a share
of the data."""


localrules:
    choose,
    keep_chosen,
    sweep,


use rule finetune as finetune_trial with:
    output:
        # LoRA's adapter is there as well; which of a grid's combinations have one, the config says.
        checkpoint=[
            f"checkpoints/trials/{NAME}/{{run}}/seed-{{seed}}/{file}"
            for file in (
                "model.safetensors",
                "config.json",
                *TOKENIZER_FILES,
            )
        ],
        history=f"results/{NAME}/{{run}}/seed-{{seed}}/history.parquet",
        provenance=f"results/{NAME}/{{run}}/seed-{{seed}}/provenance.json",
    wildcard_constraints:
        run=one_of(TRIALS),


rule score_trial:
    input:
        checkpoint=checkpoint_files,
        tokenizer=run_tokenizer,
        tokens=lambda wildcards: [
            f"data/tokens/{tokenizer_of(wildcards.run)}/{TRAININGS[wildcards.run].dataset}/{split}.parquet"
            for split in splits_of(wildcards.run)
        ],
    output:
        f"results/{NAME}/{{run}}/seed-{{seed}}/likelihoods.parquet",
    log:
        f"logs/score_trial/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/score_trial/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(trial for trial in TRIALS if task_of(trial) == "instruction"),
    threads: THREADS
    resources:
        **of_inference(model_of_run, lambda wildcards: 32, max_length_of_run),
    params:
        checkpoint=lambda wildcards, input: Path(input.checkpoint[0]).parent.as_posix(),
        tokenizer=lambda wildcards, input: Path(input.tokenizer[0]).parent.as_posix(),
        precision=CONFIG.precision,
        code=code_of("score_trial.py"),
    shell:
        'python "$SCRIPTS/score_trial.py" --precision {params.precision} --device {resources.device}'
        " --threads {threads} --checkpoint {params.checkpoint:q} --tokenizer {params.tokenizer:q}"
        " --tokens {input.tokens:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule choose:
    input:
        answers=lambda wildcards: answers_of_trials(wildcards.run),
        prepared=lambda wildcards: f"data/prepared/{RUNS[wildcards.run].dataset}/report.json",
    output:
        f"results/{NAME}/{{run}}/chosen.json",
    log:
        f"logs/choose/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/choose/{NAME}/{{run}}.jsonl"
    wildcard_constraints:
        run=one_of(SWEPT_RUNS),
    params:
        # No settings of the evaluation: whatever chooses again may train all trials again.
        members=lambda wildcards: canonical_json(RUNS[wildcards.run].combinations),
        seeds=lambda wildcards: RUNS[wildcards.run].seeds,
        results=lambda wildcards, output: f"{Path(output[0]).parent.as_posix()}/grid",
        code=code_of("choose.py"),
    shell:
        'python "$SCRIPTS/choose.py" --name {wildcards.run:q} --members {params.members:q}'
        " --seeds {params.seeds} --prepared-report {input.prepared:q} --results {params.results:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"


rule sweep:
    input:
        answers=lambda wildcards: answers_of_trials(wildcards.run),
        prepared=lambda wildcards: f"data/prepared/{RUNS[wildcards.run].dataset}/report.json",
    output:
        f"results/{NAME}/{{run}}/sweep.json",
    log:
        f"logs/sweep/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/sweep/{NAME}/{{run}}.jsonl"
    wildcard_constraints:
        run=one_of(SWEPT_RUNS),
    params:
        settings=evaluation_slice,
        members=lambda wildcards: canonical_json(RUNS[wildcards.run].combinations),
        seeds=lambda wildcards: RUNS[wildcards.run].seeds,
        results=lambda wildcards, output: f"{Path(output[0]).parent.as_posix()}/grid",
        code=code_of("sweep.py"),
    shell:
        'python "$SCRIPTS/sweep.py" --settings {params.settings:q} --name {wildcards.run:q}'
        " --members {params.members:q} --seeds {params.seeds} --prepared-report {input.prepared:q}"
        " --results {params.results:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule keep_chosen:
    input:
        chosen=f"results/{NAME}/{{run}}/chosen.json",
        trials=lambda wildcards: [
            f"{kind}/{NAME}/{trial}/seed-{wildcards.seed}/{file}"
            for trial in trials_of(wildcards.run)
            for kind, files in (
                (
                    "checkpoints/trials",
                    (
                        "model.safetensors",
                        "config.json",
                        *TOKENIZER_FILES,
                    ),
                ),
                (
                    "results",
                    ("history.parquet", "provenance.json"),
                ),
            )
            for file in files
        ],
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
        f"logs/keep_chosen/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/keep_chosen/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(SWEPT_RUNS),
    params:
        checkpoints=lambda wildcards: f"checkpoints/trials/{NAME}/{wildcards.run}/grid",
        results=lambda wildcards: f"results/{NAME}/{wildcards.run}/grid",
        checkpoint=lambda wildcards, output: Path(output.checkpoint[0]).parent.as_posix(),
        result=lambda wildcards, output: Path(output.history).parent.as_posix(),
        code=code_of("keep_chosen.py"),
    shell:
        'python "$SCRIPTS/keep_chosen.py" --chosen {input.chosen:q} --seed {wildcards.seed}'
        " --checkpoints {params.checkpoints:q} --results {params.results:q} --checkpoint {params.checkpoint:q}"
        " --result {params.result:q} 2>&1 | tee -i {log:q}"


rule learning_curve:
    input:
        parts=lambda wildcards: answers_of_trials(wildcards.run),
        provenance=lambda wildcards: [
            f"{folder}/provenance.json"
            for training in (wildcards.run, *trials_of(wildcards.run))
            for folder in seed_folders(training)
        ],
        whole=answers_of,
        train=run_training_rows,
        prepared=run_prepared,
    output:
        f"results/{NAME}/{{run}}/learning_curve.json",
    log:
        f"logs/learning_curve/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/learning_curve/{NAME}/{{run}}.jsonl"
    wildcard_constraints:
        run=one_of(CURVE_RUNS),
    resources:
        mem_mb=of_data,
    params:
        settings=evaluation_slice,
        shares=lambda wildcards: sorted(RUNS[wildcards.run].learning_curve),
        seeds=lambda wildcards: RUNS[wildcards.run].seeds,
        prepared=lambda wildcards, input: Path(input.train).parent.as_posix(),
        results=lambda wildcards, output: Path(output[0]).parent.as_posix(),
        code=code_of("learning_curve.py"),
    shell:
        'python "$SCRIPTS/learning_curve.py" --settings {params.settings:q} --name {wildcards.run:q}'
        " --shares {params.shares} --seeds {params.seeds} --prepared {params.prepared:q}"
        " --results {params.results:q} --output {output:q} 2>&1 | tee -i {log:q}"
