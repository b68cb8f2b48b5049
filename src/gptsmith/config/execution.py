"""How a run is carried out. Nothing here changes what is computed, so nothing here causes a rerun."""

from typing import Literal, Self

from pydantic import BaseModel, NonNegativeInt, PositiveInt, model_validator

from gptsmith.config.limits import Limits
from gptsmith.config.parallel import Compile, Sharding
from gptsmith.config.strict import STRICT
from gptsmith.config.versions import Versions


class Execution(BaseModel):
    """Choices that depend on the machine. None of them causes a rerun."""

    model_config = STRICT

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs; `auto` takes a CUDA GPU, then Apple's, then the CPU."""
    mirror: str | None = None
    """Directory or URL that holds copies of the downloads as `<host>/<path>`."""
    limits: Limits = Limits()
    """The most that a download or an archive may bring."""
    threads: PositiveInt = 2
    """CPU threads of a training or generation, at most what `--cores` allows."""
    features_gb: NonNegativeInt = 10
    """Largest file, in units of 10^9 bytes, that may keep what frozen blocks make of a split; where it would be larger
    they run in every epoch."""
    processes: PositiveInt = 1
    """Training processes of a job, one a GPU; together they take the steps that one would take."""
    sharding: Sharding = "none"
    """With several processes: `none` keeps the whole model in each of them, which is faster; `full` a share of its
    weights, gradients and optimizer state, for a model that one GPU cannot hold."""
    compile: Compile = "auto"
    """Whether training compiles the model's blocks (torch.compile); `auto` does on CUDA GPUs where the training is
    long enough to win the time back."""
    versions: Versions = Versions()
    """Versions of data, checkpoints and results."""
    judge_requests: PositiveInt = 4
    """Requests that a job sends to `evaluation.judge` at the same time."""
    judge_seconds: PositiveInt = 120
    """Longest wait for one of its answers, before another try."""

    checkpoint_seconds: NonNegativeInt = 60
    """Time between two saved states of a training, from which it goes on if it is broken off. More where saving takes
    long: at most a twentieth of the time goes into it."""
    state_gb: NonNegativeInt = 20
    """Room, in units of 10^9 bytes, for the saved states of all trainings; the oldest go first. 0: none is saved."""
    state_days: PositiveInt = 30
    """After so many days the state of a training that was never taken up again is removed."""

    @model_validator(mode="after")
    def _sharding_needs_processes(self) -> Self:
        if self.sharding == "full" and self.processes == 1:
            raise ValueError("sharding: full needs processes above 1")
        return self
