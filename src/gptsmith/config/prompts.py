"""The wordings around an instruction (gptsmith.data.prompts)."""

from typing import Literal

PromptStyle = Literal["alpaca", "compact", "chat"]
