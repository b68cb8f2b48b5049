"""The variants of an ablation: their settings, inputs and results."""

ABLATION = CONFIG.ablation
ABLATED = MODELS[ABLATION.model] if ABLATION else None
# Name of each row -> its shape.
VARIANTS = ABLATION.architectures(ABLATED.architecture) if ABLATION else {}


def variant_folders():
    """Of its trainings, wherever they lie."""
    return [f"{variant}/seed-{seed}" for variant in VARIANTS for seed in ABLATION.seeds]


def variant_files(file):
    return [f"results/{NAME}/ablation/{folder}/{file}" for folder in variant_folders()]


SCORED = CONFIG.ablation_split


def ablated_tokenizer(_wildcards):
    return tokenizer_files(ABLATED.tokenizer)


def ablated_tokens(splits):
    return lambda wildcards: [
        file
        for dataset in ABLATED.pretrain.datasets
        for file in tokens_of(dataset, ABLATED.tokenizer)
        if Path(file).stem in splits
    ]


def variant_settings(wildcards):
    return canonical_json(ABLATED.model_copy(update={"architecture": VARIANTS[wildcards.variant]}))


def variant_of(wildcards):
    return VARIANTS[wildcards.variant]


def ablated_training(_wildcards):
    return ABLATED.pretrain.training


def ablated_window(_wildcards):
    return ABLATED.pretrain.window or ABLATED.architecture.context_length
