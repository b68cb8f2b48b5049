"""How responses are generated."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from gptsmith.config.strict import STRICT


class Generation(BaseModel):
    """Length of the responses, and how each next token is chosen."""

    model_config = STRICT

    max_new_tokens: PositiveInt = 64
    """Longest response, in tokens; it ends earlier at end-of-text or where the model's context is full."""
    temperature: NonNegativeFloat = 0.0
    """0 takes the most probable token; otherwise logits are divided by it before sampling."""
    top_k: PositiveInt | None = None
    """Sample among this many most probable tokens; null samples among all."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Sample among the fewest most probable tokens that together have this probability; null samples among all."""
    seed: NonNegativeInt = 123
    """Seed of the sampling. What a row is answered does not depend on the rows beside it."""
    batch_size: PositiveInt = 64
    """Prompts that are answered at once, at most. More are faster and need more memory: each takes, for every
    token of prompt and response, 8 x n_layers x d_model bytes (74 kB with gpt2-small), in bf16 half of it."""
