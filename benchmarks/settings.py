"""What the command line says about how to measure."""

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The same for every task."""

    quick: bool
    """Less of each task; the rest is extrapolated."""
    full: bool
    """All of each task, on both sides, however long."""
    device: str
    """`cpu` or `cuda`."""
    threads: int
    folder: Path
    """For files of the measurement; gone afterwards."""
    data: Path | None
    """Mirror with the real data; None where there is none: then the starter's."""

    @property
    def seconds_a_side(self) -> float:
        """How long each side trains, evaluations not counted."""
        return math.inf if self.full else 9 if self.quick else 90
