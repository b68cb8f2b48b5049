"""How sure the measured numbers are: the settings of the bootstrap intervals."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from gptsmith.config.strict import STRICT


class Evaluation(BaseModel):
    """Percentile bootstrap over the items of the test split (gptsmith.evaluation.bootstrap)."""

    model_config = STRICT

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Share of the resampled values that an interval covers: 0.95 for a 95% interval."""
    bootstrap_samples: PositiveInt = 2000
    """How often the test items are resampled."""
    seed: NonNegativeInt = 123
    """Seed of the resampling."""
