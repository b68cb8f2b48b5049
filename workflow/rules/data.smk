"""Raw bytes to prepared splits."""


localrules:
    download,
    extract,


rule download:
    output:
        archive="data/raw/{folder}/archive",
        record="data/raw/{folder}/archive.json",
    log:
        "logs/download/{folder}.log",
    benchmark:
        "logs/benchmarks/download/{folder}.jsonl"
    wildcard_constraints:
        folder=one_of(filter(is_downloaded, RAW)),
    resources:
        mirror=MIRROR,
        limits=limits,
    params:
        settings=lambda wildcards: sources_of(wildcards.folder),
        code=code_of("download.py"),
    shell:
        'python "$SCRIPTS/download.py" --settings {params.settings:q} --mirror={resources.mirror:q}'
        " --limits {resources.limits:q}"
        " --output {output.archive:q} 2>&1 | tee -i {log:q}"


rule extract:
    input:
        archive=archive_of,
    output:
        "data/raw/{folder}/{dataset}.{extension}",
    log:
        "logs/extract/{folder}/{dataset}.{extension}.log",
    benchmark:
        "logs/benchmarks/extract/{folder}/{dataset}.{extension}.jsonl"
    wildcard_constraints:
        folder=one_of(filter(is_extracted, RAW)),
        dataset=one_of(DATASETS),
        extension="[a-z]+",
    resources:
        limits=limits,
    params:
        settings=lambda wildcards: sources_of(wildcards.folder),
        content=lambda wildcards: own_content(wildcards.folder),
        code=code_of("extract.py"),
    shell:
        'python "$SCRIPTS/extract.py" --settings {params.settings:q} --archive {input.archive:q}'
        " --limits {resources.limits:q}"
        " --output {output:q} 2>&1 | tee -i {log:q}"


rule prepare:
    input:
        raw=raw_file,
        test=test_file,
    output:
        expand("data/prepared/{{dataset}}/{split}.parquet", split=SPLITS),
        report="data/prepared/{dataset}/report.json",
    log:
        "logs/prepare/{dataset}.log",
    benchmark:
        "logs/benchmarks/prepare/{dataset}.jsonl"
    wildcard_constraints:
        dataset=one_of(NOT_SHARDED),
    resources:
        mem_mb=of_preparation,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        content=own_contents,
        seed=CONFIG.seed,
        code=code_of("prepare.py"),
    shell:
        'python "$SCRIPTS/prepare.py" --settings {params.settings:q} --seed {params.seed} --raw {input.raw:q}'
        " --test={input.test:q}"
        " --output data/prepared/{wildcards.dataset:q} 2>&1 | tee -i {log:q}"


# A large dataset: its shards are read side by side, and its rows divided when all are there.


rule read_shard:
    input:
        raw=raw_file,
    output:
        temp("cache/shards/{dataset}/{shard}-of-{shards}.parquet"),
    log:
        "logs/read_shard/{dataset}/{shard}-of-{shards}.log",
    benchmark:
        "logs/benchmarks/read_shard/{dataset}/{shard}-of-{shards}.jsonl"
    wildcard_constraints:
        dataset=one_of(SHARDED),
        shard="[0-9]+",
        shards="[0-9]+",
    resources:
        mem_mb=of_data,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        content=lambda wildcards: own_content(wildcards.dataset),
        code=code_of("read_shard.py"),
    shell:
        'python "$SCRIPTS/read_shard.py" --settings {params.settings:q} --raw {input.raw:q}'
        " --shard {wildcards.shard} --shards {wildcards.shards} --output {output:q} 2>&1 | tee -i {log:q}"


rule prepare_shards:
    input:
        raw=raw_file,
        test=test_file,
        shards=lambda wildcards: expand(
            "cache/shards/{d}/{s}.parquet", d=wildcards.dataset, s=shards_of(wildcards.dataset)
        ),
    output:
        expand("data/prepared/{{dataset}}/{split}.parquet", split=SPLITS),
        report="data/prepared/{dataset}/report.json",
    log:
        "logs/prepare/{dataset}.log",
    benchmark:
        "logs/benchmarks/prepare/{dataset}.jsonl"
    wildcard_constraints:
        dataset=one_of(SHARDED),
    resources:
        mem_mb=of_preparation,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        content=own_contents,
        seed=CONFIG.seed,
        code=code_of("prepare_shards.py"),
    shell:
        'python "$SCRIPTS/prepare_shards.py" --settings {params.settings:q} --seed {params.seed} --raw {input.raw:q}'
        " --test={input.test:q}"
        " --shards {input.shards:q} --output data/prepared/{wildcards.dataset:q} 2>&1 | tee -i {log:q}"
