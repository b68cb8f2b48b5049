"""The prompt of an instruction: one definition, for training and for generation.

The introduction and headings of `alpaca` are those of Stanford Alpaca (Taori et al. 2023,
https://github.com/tatsu-lab/stanford_alpaca), whose separate introduction for instructions with an
input is left out.
"""

from typing import Literal

INTRODUCTION = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)


def format_prompt(instruction: str, input: str, style: Literal["alpaca", "compact"]) -> str:  # noqa: A002
    """The text that a response follows directly.

    `alpaca` is the introduction and a heading for each part, none for an empty `input`. `compact` is for
    small models, whose context and time it saves: the parts on lines of their own, then a line `=`.
    """
    if style == "compact":
        return "".join(f"{part}\n" for part in (instruction, input, "=") if part)
    context = f"### Input:\n{input}\n\n" if input else ""
    return f"{INTRODUCTION}### Instruction:\n{instruction}\n\n{context}### Response:\n"


def format_message(instruction: str, input: str) -> str:  # noqa: A002
    """What a user says in a chat: the input in a paragraph of its own. Around it stands the tokenizer's own format."""
    return "\n\n".join(part for part in (instruction, input) if part)
