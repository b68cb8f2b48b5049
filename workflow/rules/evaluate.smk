"""Metrics of each seed, baselines, and the summary of a run."""


# Seconds of one core, where a cluster would take longer to find them a place. (And its nodes often have no internet,
# which a judge may need.)
localrules:
    judge,
    evaluate,
    summarize,
    comparisons,
    collect_metrics,


rule baselines:
    input:
        train=run_training_rows,
        prepared=run_prepared,
    output:
        f"results/{NAME}/{{run}}/baselines.parquet",
    log:
        f"logs/baselines/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/baselines/{NAME}/{{run}}.jsonl"
    resources:
        mem_mb=of_data,
    params:
        task=lambda wildcards: DATASETS[RUNS[wildcards.run].dataset].task,
        prepared=lambda wildcards, input: Path(input.train).parent.as_posix(),
        code=code_of("baselines.py"),
    shell:
        'python "$SCRIPTS/baselines.py" --task {params.task} --prepared {params.prepared:q} --output {output:q}'
        " 2>&1 | tee -i {log:q}"


rule judge:
    input:
        f"results/{NAME}/{{run}}/{{side}}/responses.jsonl",
    output:
        judgements=f"results/{NAME}/{{run}}/{{side}}/judgements.jsonl",
        provenance=f"results/{NAME}/{{run}}/{{side}}/judge.json",
    log:
        f"logs/judge/{NAME}/{{run}}/{{side}}.log",
    benchmark:
        f"logs/benchmarks/judge/{NAME}/{{run}}/{{side}}.jsonl"
    wildcard_constraints:
        run=one_of(JUDGED_RUNS),
        side="before|seed-[0-9]+",
    resources:
        judge_requests=CONFIG.execution.judge_requests,
        judge_seconds=CONFIG.execution.judge_seconds,
    params:
        settings=lambda wildcards: canonical_json(CONFIG.evaluation.judge),
        code=code_of("judge.py"),
    shell:
        'python "$SCRIPTS/judge.py" --settings {params.settings:q} --requests {resources.judge_requests}'
        " --seconds {resources.judge_seconds} --responses {input:q} --output {output.judgements:q} 2>&1 | tee -i {log:q}"


rule evaluate:
    input:
        answers=lambda wildcards: answers_of(wildcards)[RUNS[wildcards.run].seeds.index(int(wildcards.seed))],
        judgements=lambda wildcards: judgements_of(wildcards.run, [f"seed-{wildcards.seed}"]),
        prepared=lambda wildcards: f"data/prepared/{RUNS[wildcards.run].dataset}/report.json",
    output:
        f"results/{NAME}/{{run}}/seed-{{seed}}/metrics.json",
    log:
        f"logs/evaluate/{NAME}/{{run}}/seed-{{seed}}.log",
    benchmark:
        f"logs/benchmarks/evaluate/{NAME}/{{run}}/seed-{{seed}}.jsonl"
    params:
        settings=evaluation_slice,
        judgements=lambda wildcards, input: [f"--judgements={file}" for file in input.judgements],
        code=code_of("evaluate.py"),
    shell:
        'python "$SCRIPTS/evaluate.py" --settings {params.settings:q} --answers {input.answers:q}'
        " {params.judgements:q} --prepared-report {input.prepared:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule summarize:
    input:
        answers=answers_of,
        metrics=lambda wildcards: [f"{folder}/metrics.json" for folder in seed_folders(wildcards.run)],
        baselines=f"results/{NAME}/{{run}}/baselines.parquet",
        before=before_of,
        judgements=lambda wildcards: judgements_of(wildcards.run, sides_of(wildcards.run)),
        prepared=lambda wildcards: f"data/prepared/{RUNS[wildcards.run].dataset}/report.json",
    output:
        f"results/{NAME}/{{run}}/summary.json",
    log:
        f"logs/summarize/{NAME}/{{run}}.log",
    benchmark:
        f"logs/benchmarks/summarize/{NAME}/{{run}}.jsonl"
    wildcard_constraints:
        run=one_of(RUNS),
    params:
        settings=evaluation_slice,
        run=lambda wildcards: run_slice(
            wildcards.run,
            {"training", "trainable", "max_length", "loss_on", "generation", "grid", "learning_curve"},
        ),
        results=lambda wildcards, output: Path(output[0]).parent.as_posix(),
        judged=lambda wildcards: ["--judged"] if wildcards.run in JUDGED_RUNS else [],
        code=code_of("summarize.py"),
    shell:
        'python "$SCRIPTS/summarize.py" --settings {params.settings:q} --run {params.run:q} --name {wildcards.run:q}'
        " --results {params.results:q} {params.judged:q} --prepared-report {input.prepared:q} --output {output:q}"
        " 2>&1 | tee -i {log:q}"


rule comparisons:
    input:
        answers=answers_of_dataset,
        prepared="data/prepared/{dataset}/report.json",
    output:
        f"results/{NAME}/comparisons/{{dataset}}.json",
    log:
        f"logs/comparisons/{NAME}/{{dataset}}.log",
    benchmark:
        f"logs/benchmarks/comparisons/{NAME}/{{dataset}}.jsonl"
    wildcard_constraints:
        dataset=one_of(COMPARED),
    params:
        settings=evaluation_slice,
        runs=lambda wildcards: canonical_json([[run, RUNS[run].seeds] for run in COMPARED[wildcards.dataset]]),
        results=lambda wildcards, output: Path(output[0]).parents[1].as_posix(),
        code=code_of("comparisons.py"),
    shell:
        'python "$SCRIPTS/comparisons.py" --settings {params.settings:q} --runs {params.runs:q}'
        " --results {params.results:q} --prepared-report {input.prepared:q} --output {output:q} 2>&1 | tee -i {log:q}"


rule collect_metrics:
    input:
        summaries=[f"results/{NAME}/{run}/summary.json" for run in RUNS],
        ablation=[f"results/{NAME}/ablation/summary.json"] if ABLATION else [],
    output:
        report(
            METRICS,
            category="Report",
            labels={"run": "all runs", "part": "metrics as JSON"},
            caption="../report/metrics.rst",
        ),
    log:
        f"logs/collect_metrics/{NAME}.log",
    params:
        code=code_of("collect_metrics.py"),
    shell:
        'python "$SCRIPTS/collect_metrics.py" --summaries {input.summaries:q} --ablation {input.ablation:q}'
        " --output {output:q} 2>&1 | tee -i {log:q}"
