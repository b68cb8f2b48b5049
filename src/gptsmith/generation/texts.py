"""Labels for texts from outside, with a fine-tuned classifier and all that stands beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptsmith.checkpoint.configuration import is_classifier, read_fine_tuning
from gptsmith.checkpoint.files import load_classifier
from gptsmith.checkpoint.tokenizer import load_checkpoint_tokenizer
from gptsmith.data.cleaning import clean
from gptsmith.errors import UserError
from gptsmith.generation.predictions import classify
from gptsmith.model.heads import Classifier
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.training.compute import Compute
from gptsmith.training.examples import ClassificationExamples


@dataclass(frozen=True)
class TextClassifier:
    model: Classifier
    labels: list[str]
    """Of the classes, in the order of the probabilities."""
    tokenizer: Tokenizer
    max_length: int
    """Tokens that are read of a text, as in training."""
    compute: Compute


@dataclass(frozen=True)
class Classified:
    probabilities: np.ndarray
    """float64 [texts, classes]"""
    n_tokens: np.ndarray
    """int64 [texts], of the whole texts"""


def load_text_classifier(checkpoint: Path, compute: Compute) -> TextClassifier:
    """Raises UserError when the checkpoint is a language model, or anything in its folder is not as it should be."""
    if not is_classifier(checkpoint):
        raise UserError(
            f"{checkpoint}: a language model, which has no labels.\nTo talk to it: gptsmith chat {checkpoint}"
        )
    model, labels = load_classifier(checkpoint)
    context_length = model.architecture.context_length
    fine_tuning = read_fine_tuning(checkpoint)
    max_length = min(fine_tuning.max_length, context_length) if fine_tuning else context_length
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    return TextClassifier(model.to(compute.device), labels, tokenizer, max_length, compute)


def classify_texts(classifier: TextClassifier, texts: Sequence[str]) -> Classified:
    """Read each text as in training: cleaned, its first `max_length` tokens, and an empty one as end-of-text alone."""
    whole = [classifier.tokenizer.encode(clean(text)) for text in texts]
    end_of_text = classifier.tokenizer.end_of_text
    input_ids = [np.array(ids[: classifier.max_length] or [end_of_text], dtype=np.int32) for ids in whole]
    no_labels = np.zeros(len(input_ids), dtype=np.int32)
    examples = ClassificationExamples(input_ids, no_labels, end_of_text)
    probabilities = classify(classifier.model, examples, classifier.compute, lambda *_: None)
    return Classified(probabilities, np.array([len(ids) for ids in whole], dtype=np.int64))
