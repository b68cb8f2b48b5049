"""The stage that says how probable a fine-tuned model finds the references of one split, without generating."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptsmith.checkpoint.files import load_language_model
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.generation.likelihood import response_likelihood
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.training.compute import Compute

BATCH_SIZE = 32


def write_likelihoods(
    checkpoint: Path, tokenizer: Tokenizer, tokens_file: Path, compute: Compute, output: Path
) -> None:
    """Write a row for each item of a token file: `id`, `negative_log_likelihood` (nats, summed over the reference's
    tokens and end-of-text) and `target_tokens` (how many they are).

    Items that do not fit the model's context are left out: they are the same for all trainings of a model.

    Raises UserError for tokens without prompts or of another tokenizer, and where no item is left.
    """
    model, tokens = load_language_model(checkpoint), read_tokens(tokens_file)
    check_same_tokenizer(tokens, tokenizer)
    if tokens.prompt_lengths is None:
        raise UserError(f"{tokens_file}: no instructions; tokenize the dataset again")
    fitting = np.flatnonzero(tokens.lengths <= model.architecture.context_length).tolist()
    if not fitting:
        raise UserError(f"{tokens_file}: no item that fits the model's context; give the dataset a larger split")
    if left_out := len(tokens) - len(fitting):
        print(f"{tokens_file}: {left_out} items left out, longer than the model's context", file=sys.stderr)
    ids = tokens.ids[fitting].tolist()
    prompts = [tokens[row][: tokens.prompt_lengths[row]].tolist() for row in fitting]
    references = [tokens[row][tokens.prompt_lengths[row] :].tolist() for row in fitting]
    model.eval().to(compute.device)
    with compute.autocast():
        found = response_likelihood(model, prompts, references, tokenizer.end_of_text, BATCH_SIZE, ids)
    columns = {
        "id": pa.array(ids, pa.int64()),
        "negative_log_likelihood": pa.array([nll for nll, _ in found], pa.float64()),
        "target_tokens": pa.array([n for _, n in found], pa.int64()),
    }
    with atomic_path(output) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
