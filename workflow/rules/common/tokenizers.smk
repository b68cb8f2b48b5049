"""Files of tokenizers and of tokens."""

TRAINED_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.is_trained]
PUBLISHED_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.vocab is not None]
GGUF_TOKENIZERS = [name for name, tokenizer in TOKENIZERS.items() if tokenizer.gguf is not None]
RULES_OF_TOKENIZERS = (
    dict.fromkeys(TRAINED_TOKENIZERS, "train_tokenizer")
    | dict.fromkeys(PUBLISHED_TOKENIZERS, "fetch_tokenizer")
    | dict.fromkeys(GGUF_TOKENIZERS, "gguf_tokenizer")
)


def tokenizer_files(tokenizer):
    return [f"checkpoints/tokenizers/{tokenizer}/{file}" for file in TOKENIZER_FILES]


def local_files_of_tokenizer(wildcards):
    """Files of the user's own that a published tokenizer is read from."""
    tokenizer = TOKENIZERS[wildcards.tokenizer]
    return [source.path for source in (*tokenizer.vocab, *tokenizer.merges) if source.path is not None]


def token_shards(wildcards):
    """The folders of a dataset's shards, in order."""
    folder = f"cache/shards/{wildcards.dataset}/{wildcards.tokenizer}"
    return [f"{folder}/{shard}" for shard in shards_of(wildcards.dataset)]


def tokens_of(dataset, tokenizer):
    return [f"data/tokens/{tokenizer}/{dataset}/{split}.parquet" for split in SPLITS]
