"""The line that says how far a long computation is, from scripts' logs to `gptsmith progress`."""

import re
from dataclasses import dataclass

LINE = re.compile(r"(?P<title>.+): (?P<unit>\S+) (?P<done>\d+)/(?P<total>\d+)(?P<detail>, .*)?, (?P<left>[\d:]+) left")
FIGURE = re.compile(r"(?:([^\d,]+) )?(-?[\d,]*\d(?:\.\d+)?)(?: (\S+))?")


@dataclass(frozen=True)
class Step:
    """Where a computation is."""

    title: str
    unit: str
    done: int
    total: int
    detail: str
    """Figures, separated by commas."""
    seconds_left: int

    def __str__(self) -> str:
        detail = f", {self.detail}" if self.detail else ""
        return f"{self.title}: {self.unit} {self.done}/{self.total}{detail}, {clock(self.seconds_left)} left"

    @property
    def figures(self) -> dict[str, float]:
        """`loss 0.412, 3,400 tokens/s` -> {"loss": 0.412, "tokens/s": 3400}."""
        found = (FIGURE.fullmatch(part) for part in self.detail.split(", "))
        return {str(match[1] or match[3]): float(match[2].replace(",", "")) for match in found if match}


def parse(line: str) -> Step | None:
    """What `str` makes of a step; None for any other line."""
    match = LINE.fullmatch(line.strip())
    if match is None or not line.strip().isprintable():
        return None
    left = 0
    for part in match["left"].split(":"):
        left = 60 * left + int(part or 0)
    detail = (match["detail"] or "").removeprefix(", ")
    return Step(match["title"], match["unit"], int(match["done"]), int(match["total"]), detail, left)


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
