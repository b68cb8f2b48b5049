"""How answers are measured: the bootstrap intervals, the threshold, and who else grades them."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from gptsmith.config.judge import Judge
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
    threshold_recall: Annotated[float, Field(ge=0, le=1)] = 0.0
    """With two classes: the recall that the threshold must reach on the validation split. Among those that do, the one
    of highest F1 is taken."""
    judge: Judge | None = None
    """A language model that also grades the responses of instruction runs; none when left out."""
