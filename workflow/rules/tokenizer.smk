"""Tokenizers, trained or published, and the texts as tokens."""


localrules:
    fetch_tokenizer,


rule train_tokenizer:
    input:
        lambda wildcards: expand("data/prepared/{d}/train.parquet", d=TOKENIZERS[wildcards.tokenizer].train_on),
    output:
        expand("checkpoints/tokenizers/{{tokenizer}}/{file}", file=TOKENIZER_FILES),
    log:
        "logs/train_tokenizer/{tokenizer}.log",
    benchmark:
        "logs/benchmarks/train_tokenizer/{tokenizer}.jsonl"
    wildcard_constraints:
        tokenizer=one_of(TRAINED_TOKENIZERS),
    resources:
        mem_mb=of_data,
    params:
        vocab_size=lambda wildcards: TOKENIZERS[wildcards.tokenizer].vocab_size,
        code=code_of("train_tokenizer.py"),
    shell:
        'python "$SCRIPTS/train_tokenizer.py" --vocab-size {params.vocab_size} --prepared {input:q}'
        " --output checkpoints/tokenizers/{wildcards.tokenizer:q} 2>&1 | tee -i {log:q}"


rule fetch_tokenizer:
    input:
        local_files_of_tokenizer,
    output:
        expand("checkpoints/tokenizers/{{tokenizer}}/{file}", file=TOKENIZER_FILES),
    log:
        "logs/fetch_tokenizer/{tokenizer}.log",
    benchmark:
        "logs/benchmarks/fetch_tokenizer/{tokenizer}.jsonl"
    wildcard_constraints:
        tokenizer=one_of(PUBLISHED_TOKENIZERS),
    resources:
        mirror=MIRROR,
        limits=limits,
    params:
        settings=lambda wildcards: canonical_json(TOKENIZERS[wildcards.tokenizer]),
        content=lambda wildcards: [content_of(file) for file in local_files_of_tokenizer(wildcards)],
        code=code_of("fetch_tokenizer.py"),
    shell:
        'python "$SCRIPTS/fetch_tokenizer.py" --settings {params.settings:q} --mirror={resources.mirror:q}'
        " --limits {resources.limits:q}"
        " --output checkpoints/tokenizers/{wildcards.tokenizer:q} 2>&1 | tee -i {log:q}"


rule gguf_tokenizer:
    input:
        lambda wildcards: gguf_file(TOKENIZERS[wildcards.tokenizer].gguf),
    output:
        expand("checkpoints/tokenizers/{{tokenizer}}/{file}", file=TOKENIZER_FILES),
    log:
        "logs/gguf_tokenizer/{tokenizer}.log",
    benchmark:
        "logs/benchmarks/gguf_tokenizer/{tokenizer}.jsonl"
    wildcard_constraints:
        tokenizer=one_of(GGUF_TOKENIZERS),
    params:
        content=lambda wildcards: own_gguf_contents(TOKENIZERS[wildcards.tokenizer].gguf),
        code=code_of("gguf_tokenizer.py"),
    shell:
        'python "$SCRIPTS/gguf_tokenizer.py" --weights {input:q}'
        " --output checkpoints/tokenizers/{wildcards.tokenizer:q} 2>&1 | tee -i {log:q}"


rule tokenize:
    input:
        prepared=expand("data/prepared/{{dataset}}/{part}", part=[f"{s}.parquet" for s in SPLITS] + ["report.json"]),
        tokenizer=lambda wildcards: tokenizer_files(wildcards.tokenizer),
    output:
        expand("data/tokens/{{tokenizer}}/{{dataset}}/{split}.parquet", split=SPLITS),
    log:
        "logs/tokenize/{tokenizer}/{dataset}.log",
    benchmark:
        "logs/benchmarks/tokenize/{tokenizer}/{dataset}.jsonl"
    wildcard_constraints:
        dataset=one_of(NOT_SHARDED),
    threads: THREADS
    resources:
        mem_mb=of_data,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        code=code_of("tokenize_dataset.py"),
    shell:
        'python "$SCRIPTS/tokenize_dataset.py" --settings {params.settings:q} --threads {threads}'
        " --prepared data/prepared/{wildcards.dataset:q} --tokenizer checkpoints/tokenizers/{wildcards.tokenizer:q}"
        " --output data/tokens/{wildcards.tokenizer:q}/{wildcards.dataset:q} 2>&1 | tee -i {log:q}"


# A large dataset: its shards are tokenized side by side.


rule tokenize_shard:
    input:
        prepared=expand("data/prepared/{{dataset}}/{part}", part=[f"{s}.parquet" for s in SPLITS] + ["report.json"]),
        tokenizer=lambda wildcards: tokenizer_files(wildcards.tokenizer),
    output:
        temp(expand("cache/shards/{{dataset}}/{{tokenizer}}/{{shard}}-of-{{shards}}/{split}.parquet", split=SPLITS)),
    log:
        "logs/tokenize_shard/{tokenizer}/{dataset}/{shard}-of-{shards}.log",
    benchmark:
        "logs/benchmarks/tokenize_shard/{tokenizer}/{dataset}/{shard}-of-{shards}.jsonl"
    wildcard_constraints:
        dataset=one_of(SHARDED),
        shard="[0-9]+",
        shards="[0-9]+",
    threads: THREADS
    resources:
        mem_mb=of_data,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        code=code_of("tokenize_dataset.py"),
        folder="cache/shards/{dataset}/{tokenizer}/{shard}-of-{shards}",
    shell:
        'python "$SCRIPTS/tokenize_dataset.py" --settings {params.settings:q} --threads {threads}'
        " --prepared data/prepared/{wildcards.dataset:q} --tokenizer checkpoints/tokenizers/{wildcards.tokenizer:q}"
        " --shard {wildcards.shard} --shards {wildcards.shards} --output {params.folder:q} 2>&1 | tee -i {log:q}"


rule join_tokens:
    input:
        prepared=expand("data/prepared/{{dataset}}/{part}", part=[f"{s}.parquet" for s in SPLITS] + ["report.json"]),
        tokenizer=lambda wildcards: tokenizer_files(wildcards.tokenizer),
        shards=lambda wildcards: expand("{folder}/{split}.parquet", folder=token_shards(wildcards), split=SPLITS),
    output:
        expand("data/tokens/{{tokenizer}}/{{dataset}}/{split}.parquet", split=SPLITS),
    log:
        "logs/tokenize/{tokenizer}/{dataset}.log",
    benchmark:
        "logs/benchmarks/tokenize/{tokenizer}/{dataset}.jsonl"
    wildcard_constraints:
        dataset=one_of(SHARDED),
    resources:
        mem_mb=of_data,
    params:
        settings=lambda wildcards: preparation_of(wildcards.dataset),
        code=code_of("join_tokens.py"),
        folders=token_shards,
    shell:
        'python "$SCRIPTS/join_tokens.py" --shards {params.folders:q}'
        " --output data/tokens/{wildcards.tokenizer:q}/{wildcards.dataset:q} 2>&1 | tee -i {log:q}"
