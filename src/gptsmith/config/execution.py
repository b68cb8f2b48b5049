"""How a run is carried out. Nothing here changes what is computed, so nothing here causes a rerun."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

from gptsmith.config.strict import STRICT


class Execution(BaseModel):
    """Choices that depend on the machine. None of them causes a rerun."""

    model_config = STRICT

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs; `auto` takes a CUDA GPU, then Apple's, then the CPU."""
    mirror: str | None = None
    """Directory or URL that holds copies of the downloads as `<host>/<path>`."""
    threads: PositiveInt = 2
    """CPU threads of a training or generation, at most what `--cores` allows."""
