"""What is fine-tuned and evaluated."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
)

from gptsmith.config.generation import Generation
from gptsmith.config.strict import STRICT
from gptsmith.config.sweeps import combinations, grid_problems, with_settings
from gptsmith.config.training import Training


class LastBlocks(BaseModel):
    """Train the last blocks, the final layer norm and the head."""

    model_config = STRICT

    last_blocks: PositiveInt
    """How many transformer blocks, counted from the end."""


class LoRA(BaseModel):
    """Low-rank adapters (Hu et al. 2021): W + (alpha / rank) B A, with W frozen."""

    model_config = STRICT

    rank: PositiveInt
    """Inner width of the adapters."""
    alpha: PositiveFloat
    """Scale: the update is multiplied by alpha / rank."""


class LoRAOnly(BaseModel):
    """Train adapters beside the frozen weights (and a classifier's head)."""

    model_config = STRICT

    lora: LoRA
    """Size of the adapters."""


def _kind_of_trainable(value: Any) -> str:
    if isinstance(value, LastBlocks) or (isinstance(value, Mapping) and "last_blocks" in value):
        return "last_blocks"
    if isinstance(value, LoRAOnly) or (isinstance(value, Mapping) and "lora" in value):
        return "lora"
    return "word"


Trainable = Annotated[
    Annotated[Literal["all", "head"], Tag("word")]
    | Annotated[LastBlocks, Tag("last_blocks")]
    | Annotated[LoRAOnly, Tag("lora")],
    Discriminator(_kind_of_trainable),
]


class Run(BaseModel):
    """One fine-tuning, with one or several seeds, and its evaluation."""

    model_config = STRICT

    dataset: str
    """Name of a classification or instruction dataset."""
    model: str
    """Name of the model to start from."""
    trainable: Trainable = "all"
    """Which weights change: `all`, `head`, `{last_blocks: n}` or `{lora: {rank: r, alpha: a}}`."""
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [123]
    """One training for each seed; the report shows their mean and spread."""
    max_length: PositiveInt | None = None
    """Longest text, in tokens; the model's context length when left out. Longer texts lose their end (the report
    counts those of the training split); an instruction whose prompt alone is longer is not trained on."""
    loss_on: Literal["response", "all"] = "response"
    """Tokens an instruction run learns from: the response, or the prompt as well."""
    class_weights: Literal["none", "balanced"] = "none"
    """Of a classification run's loss: `balanced` weighs each text by rows / (classes x rows of its class), counted in
    the training split, so that all classes count alike however rare they are."""
    training: Training = Training()
    """Optimizer, schedule and length."""
    generation: Generation | None = None
    """How responses are generated (instruction runs only); its defaults when left out."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """A sweep: settings of this run by their path, such as `training.learning_rate`, each with a list of values. Every
    combination is trained; the best on the validation split becomes the run (docs/sweeps.md)."""
    learning_curve: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of the training split, such as 0.1, that are trained on as well, to see what more data give."""

    @field_validator("grid")
    @classmethod
    def _every_combination_is_a_run(cls, grid: dict[str, list[Any]], info: ValidationInfo) -> dict[str, list[Any]]:
        if problems := list(dict.fromkeys(grid_problems(grid, _raw(info.data), cls))):
            raise ValueError("\n".join(problems))
        return grid

    @field_validator("learning_curve")
    @classmethod
    def _one_curve(cls, shares: list[float], info: ValidationInfo) -> list[float]:
        if len(set(shares)) < len(shares):
            raise ValueError("a share is named twice")
        if shares and info.data.get("grid"):
            raise ValueError(
                "a run with a grid has none; make it one of another run, with the settings that were chosen"
            )
        return shares

    @property
    def trained_blocks(self) -> int | None:
        """How many blocks are trained, from the end, where those below them always compute the same: they are
        frozen, and nothing in them is dropped. None where no block stays the same."""
        if self.training.dropout:
            return None
        if isinstance(self.trainable, LastBlocks):
            return self.trainable.last_blocks
        return 0 if self.trainable == "head" else None

    @property
    def combinations(self) -> dict[str, dict[str, Any]]:
        """Of the grid, by name: path -> value. None without a grid."""
        return combinations(self.grid, self._settings, Run) if self.grid else {}

    def chosen(self, values: Mapping[str, Any]) -> "Run":
        """This run with one of its combinations in the place of its grid."""
        return Run.model_validate(with_settings(self._settings, values))

    @property
    def _settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"grid"})


def _raw(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the validated fields of a model were read from."""
    return {
        key: value.model_dump(mode="json") if isinstance(value, BaseModel) else value for key, value in fields.items()
    }
