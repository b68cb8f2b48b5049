"""How a model is trained: shared by pretraining and both fine-tunings."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from gptsmith.config.strict import STRICT

Precision = Literal["auto", "fp32", "bf16"]


class Training(BaseModel):
    """Optimizer, schedule and length of a training."""

    model_config = STRICT

    epochs: PositiveFloat = 5.0
    """Passes over the training split; 0.5 is half a pass."""
    batch_size: PositiveInt = 8
    """Examples per optimizer step."""
    micro_batch_size: PositiveInt | None = None
    """Examples computed at once; a smaller value accumulates gradients and needs less memory. The
    numbers stay those of the whole batch."""
    learning_rate: PositiveFloat = 5e-5
    """Highest learning rate of the schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled weight decay of AdamW, on matrices only (not on biases and layer norms)."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of AdamW's running mean of squared gradients; training from scratch does better with 0.95 to 0.98."""
    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the steps over which the learning rate rises linearly from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What follows the warm-up: a fall along a cosine, or no change."""
    final_learning_rate_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Where the cosine ends, as a share of `learning_rate`."""
    gradient_clip: PositiveFloat | None = 1.0
    """Largest norm of the gradient; null leaves it as it is."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping an activation while training."""
    evaluations: PositiveInt = 10
    """How many times the validation loss is measured, evenly spread, the last step included."""
    patience: PositiveInt | None = None
    """Stop after this many evaluations in a row without a better validation loss; null never stops
    early. The best checkpoint is kept either way."""

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})"
            )
        return self
