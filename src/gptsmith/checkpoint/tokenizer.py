"""The tokenizer beside a checkpoint's weights."""

from pathlib import Path

from gptsmith.checkpoint.configuration import read_architecture
from gptsmith.errors import UserError
from gptsmith.tokenizer.fast import Tokenizer, load_tokenizer


def load_checkpoint_tokenizer(folder: Path) -> Tokenizer:
    """Load the checkpoint's own vocab.json and merges.txt, which a fine-tuning leaves there.

    Raises UserError when they are not there or damaged, and when they have more tokens than the model.
    """
    vocab_size = read_architecture(folder).vocab_size
    tokenizer = load_tokenizer(folder, folder.name)
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model {vocab_size}: "
            "they do not belong together"
        )
    return tokenizer
