"""The prompt of an instruction: one definition, for training and for generation.

The headings and the introduction are those of Stanford Alpaca (Taori et al. 2023,
https://github.com/tatsu-lab/stanford_alpaca), whose separate introduction for instructions with an
input is left out.
"""

from typing import Literal

INTRODUCTION = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)


def format_prompt(instruction: str, input: str, style: Literal["alpaca", "compact"]) -> str:  # noqa: A002
    """The text that a response follows directly. An empty `input` has no heading.

    `alpaca` begins with the introduction; `compact` is the headings alone, which saves a small model's context.
    """
    introduction = INTRODUCTION if style == "alpaca" else ""
    context = f"### Input:\n{input}\n\n" if input else ""
    return f"{introduction}### Instruction:\n{instruction}\n\n{context}### Response:\n"
