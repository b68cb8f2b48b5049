"""The stage that says how probable a pretrained model finds texts: the loss of each window of their tokens."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gptsmith.checkpoint.files import load_language_model
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.generation.likelihood import summed_losses
from gptsmith.model.heads import LanguageModel
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.tokens import check_same_tokenizer, read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.examples import IGNORED, Batch
from gptsmith.training.tasks import pretraining_windows

BATCH_SIZE = 32


def write_window_losses(
    checkpoint: Path, tokenizer: Tokenizer, token_files: Sequence[Path], window: int, compute: Compute, output: Path
) -> None:
    """Write a row for each window of the joined texts of the files: `id` (its number), `negative_log_likelihood` (nats,
    summed over its tokens) and `target_tokens` (how many they are).

    Windows do not overlap, so each token counts once.

    Raises UserError for tokens of another tokenizer, and where there is no text.
    """
    model, tokens = load_language_model(checkpoint), [read_tokens(file) for file in token_files]
    for one in tokens:
        check_same_tokenizer(one, tokenizer)
    examples = pretraining_windows(tokens, window, window, tokenizer.end_of_text)
    n_windows = len(examples.input_ids)
    if not n_windows:
        raise UserError(f"{', '.join(map(str, token_files))}: no text; give one of the datasets a larger split")
    model.eval().to(compute.device)
    found: list[tuple[float, int]] = []
    with compute.autocast():
        for start in range(0, n_windows, BATCH_SIZE):
            batch = examples.batch(range(start, min(start + BATCH_SIZE, n_windows)))
            found += _losses(model, batch.to(compute.device))
    columns = {
        "id": pa.array(range(n_windows), pa.int64()),
        "negative_log_likelihood": pa.array([nll for nll, _ in found], pa.float64()),
        "target_tokens": pa.array([n for _, n in found], pa.int64()),
    }
    with atomic_path(output) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


@torch.no_grad()  # inference_mode would let autocast convert the weights anew at every step
def _losses(model: LanguageModel, batch: Batch) -> list[tuple[float, int]]:
    """Of each row: nats, and how many targets they are of."""
    supervised = batch.targets != IGNORED
    hidden: Tensor = model.trunk(batch.input_ids)[supervised]
    return summed_losses(model, hidden, batch.targets[supervised], supervised.sum(dim=1).tolist())
