"""The files of a tokenizer, and what its vocabulary and merges do not say."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from gptsmith.config.strict import STRICT

VOCABULARY, MERGES, SETTINGS = TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_settings.json")

# One of a single character could not be told from text.
SpecialToken = Annotated[str, Field(min_length=2)]


class Conventions(BaseModel):
    """How text is cut before merging, and which tokens are special, to which no text is encoded. The defaults are
    GPT-2's."""

    model_config = STRICT

    pretokens: Literal["gpt2", "smollm"] = "gpt2"
    """Where text is cut before anything is merged: `gpt2` at the borders of words, numbers and other signs; `smollm`
    besides around every digit."""
    end_of_text: SpecialToken = "<|endoftext|>"
    """The special token that is written after a text or an answer."""
    other_special_tokens: list[SpecialToken] = []
    """The rest of the vocabulary that is neither bytes nor made by merges."""
    chat_template: str | None = None
    """Jinja that writes a conversation, in the form of Hugging Face's tokenizers: what `prompt: chat` of a dataset
    uses."""
