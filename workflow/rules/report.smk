"""The report, and the targets that name a part of the work."""


localrules:
    all,
    downloads,
    report,


rule report:
    input:
        summaries=[f"results/{NAME}/{run}/summary.json" for run in RUNS],
        histories=seed_files(RUNS, "history.parquet"),
        provenance=seed_files(RUNS, "provenance.json"),
        metrics=seed_files(RUNS, "metrics.json"),
        predictions=seed_files(CLASSIFICATION_RUNS, "predictions.parquet"),
        responses=seed_files(INSTRUCTION_RUNS, "responses.jsonl"),
        before=[f"results/{NAME}/{run}/before/responses.jsonl" for run in INSTRUCTION_RUNS],
        judgements=[
            f"results/{NAME}/{run}/{side}/{file}"
            for run in JUDGED_RUNS
            for side in sides_of(run)
            for file in ("judgements.jsonl", "judge.json")
        ],
        baselines=[f"results/{NAME}/{run}/baselines.parquet" for run in RUNS],
        comparisons=[f"results/{NAME}/comparisons/{dataset}.json" for dataset in COMPARED],
        prepared=[f"data/prepared/{dataset}/report.json" for dataset in USED_DATASETS],
        verifications=[f"checkpoints/base/{model}/verification.json" for model in USED_MODELS],
        sweeps=[f"results/{NAME}/{run}/sweep.json" for run in SWEPT_RUNS],
        learning_curves=[f"results/{NAME}/{run}/learning_curve.json" for run in CURVE_RUNS],
        pretraining=[f"checkpoints/base/{model}/history.parquet" for model in PRETRAINED_MODELS],
        ablation=[f"results/{NAME}/ablation/summary.json"] if ABLATION else [],
        variants=variant_files("provenance.json"),
    output:
        page=report(
            REPORT,
            category="Report",
            labels={"run": "all runs", "part": "whole report"},
            caption="../report/report.rst",
        ),
        # A folder, as the figures depend on the data.
        pieces=report(
            directory(PIECES),
            patterns=["{run}/{part}.html"],
            category="{run}",
            labels={"run": "{run}", "part": "{part}"},
            caption="../report/piece.rst",
        ),
    log:
        f"logs/report/{NAME}.log",
    params:
        settings=report_settings,
        # The settings are sorted; the report has the runs in the order of the config.
        runs=list(RUNS),
        # Not an input: to make a log that was deleted again, a whole training would run again.
        stages=stage_records,
        # Neither is an estimate: nobody has to ask for one.
        estimate=[ESTIMATE] if Path(ESTIMATE).is_file() else [],
        estimated=content_of(ESTIMATE) if Path(ESTIMATE).is_file() else "",
        folders=MADE
        + [str(Path(file).parent) for file in DOWNLOADED_WEIGHTS]
        + [f"checkpoints/trials/{NAME}/{run}" for run in RUNS if trials_of(run)]
        + ([f"checkpoints/ablation/{NAME}"] if ABLATION else [])
        + sorted({folder for training in TRAININGS if (folder := features_folder(training))}),
        code=code_of("report.py"),
        templates=files_version("src/gptsmith/report", ("*.jinja", "*.css", "*.js")),
    shell:
        'python "$SCRIPTS/report.py" --settings {params.settings:q} --runs {params.runs:q}'
        " --prepared {input.prepared:q} --comparisons {input.comparisons:q} --ablation {input.ablation:q}"
        " --variants {input.variants:q}"
        " --verifications {input.verifications:q} --pretraining {input.pretraining:q} --stages {params.stages:q}"
        " --estimate {params.estimate:q} --folders {params.folders:q}"
        " --output {output.page:q} 2>&1 | tee -i {log:q}"


rule downloads:
    input:
        [f"data/raw/{folder}/archive" for folder in raw_folders(USED_DATASETS) if is_downloaded(folder)],
        [file for t in USED_TOKENIZERS if t in PUBLISHED_TOKENIZERS for file in tokenizer_files(t)],
        DOWNLOADED_WEIGHTS,


for run in RUNS:

    rule:
        name:
            run
        input:
            f"results/{NAME}/{run}/summary.json",
            [f"results/{NAME}/{run}/learning_curve.json"] if run in CURVE_RUNS else [],
