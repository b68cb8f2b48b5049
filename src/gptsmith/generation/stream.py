"""Answering one prompt, seen as it is written."""

from collections.abc import Iterator, Sequence

import torch

from gptsmith.config.generation import Generation
from gptsmith.generation.decoding import new_row, steps
from gptsmith.model.heads import LanguageModel
from gptsmith.tokenizer.fast import Vocabulary


@torch.no_grad()  # inference_mode would let autocast convert the weights anew at every step
def stream(
    model: LanguageModel, prompt: Sequence[int], settings: Generation, vocabulary: Vocabulary, item: int = 0
) -> Iterator[int]:
    """The tokens that `generate` answers the prompt of number `item` with, each as soon as it is chosen.

    Raises UserError as `generate` does.
    """
    row = new_row(prompt, settings, item, model.architecture.context_length)
    for _ in steps(model, [row], settings, vocabulary):
        if row.finish_reason != "stop":
            yield row.tokens[-1]
