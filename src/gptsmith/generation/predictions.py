"""The stage that classifies the texts of some splits with a fine-tuned classifier."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gptsmith.checkpoint.configuration import read_config, read_fine_tuning
from gptsmith.checkpoint.files import load_classifier
from gptsmith.data.prepared import read_split
from gptsmith.errors import UserError
from gptsmith.files import atomic_path
from gptsmith.model.heads import Classifier
from gptsmith.tokenizer.tokens import read_tokens
from gptsmith.training.compute import Compute
from gptsmith.training.examples import Examples, batches_by_length
from gptsmith.training.features import n_frozen_blocks, with_features
from gptsmith.training.objectives import class_logits
from gptsmith.training.progress import Advance, progress
from gptsmith.training.tasks import classification_examples

BATCH_SIZE = 64


def write_predictions(
    checkpoint: Path,
    tokens: Path,
    prepared: Path,
    splits: Sequence[str],
    features: Path | None,
    trained_blocks: int,
    compute: Compute,
    output: Path,
) -> None:
    """Write one row for every text of `splits`, with the probability of each label. Texts are cut as in training.

    features: folder of what the blocks below the last `trained_blocks` make of the texts, where it is stored.

    Raises UserError when the classifier was trained on other labels than the tokens have.
    """
    classifier, labels = load_classifier(checkpoint)
    classifier.to(compute.device)
    end_of_text = read_config(checkpoint)["eos_token_id"]
    context_length = classifier.architecture.context_length
    fine_tuning = read_fine_tuning(checkpoint)
    max_length = min(fine_tuning.max_length, context_length) if fine_tuning else context_length
    tables = []
    for split in splits:
        split_tokens, rows = read_tokens(tokens / f"{split}.parquet"), read_split(prepared, split)
        if split_tokens.label_names != labels:
            raise UserError(f"{checkpoint}: trained on labels {labels}, but {tokens} has {split_tokens.label_names}")
        if not np.array_equal(split_tokens.ids, rows["id"].to_numpy()):
            raise UserError(f"{tokens}: not the tokens of {prepared}; make them again")
        texts = classification_examples(split_tokens, max_length, end_of_text)
        examples: Examples = texts
        if features is not None:
            n_blocks = n_frozen_blocks(classifier.trunk, trained_blocks)
            examples = with_features(texts, features / f"{split}.npy", classifier.trunk, n_blocks)
        with progress(f"predict {split}", len(rows), "text") as advance:
            probabilities = classify(classifier, examples, compute, advance)
        columns = {
            "id": rows["id"],
            "split": pa.array([split] * len(rows), pa.string()),
            "text": rows["text"],
            "label": rows["label"],
            "prediction": pa.array([labels[index] for index in probabilities.argmax(axis=1)], pa.string()),
        }
        columns |= {f"probability_{label}": pa.array(probabilities[:, n]) for n, label in enumerate(labels)}
        tables.append(pa.table(columns))
    with atomic_path(output) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary, compression="zstd")


@torch.no_grad()
def classify(classifier: Classifier, examples: Examples, compute: Compute, advance: Advance) -> np.ndarray:
    """Probabilities float64 [examples, n_classes], in the order of `examples`; `advance` is told how far it is."""
    classifier.eval()
    probabilities = np.zeros((len(examples.lengths), classifier.score.out_features))
    done = 0
    with compute.autocast():
        for indices in batches_by_length(examples.lengths, BATCH_SIZE):
            batch = examples.batch(indices).to(compute.device)
            logits = class_logits(classifier, batch)
            probabilities[indices] = logits.double().softmax(dim=-1).cpu().numpy()
            done += len(indices)
            advance(done, lambda: f"batches of {BATCH_SIZE}")
    return probabilities
