"""The parts that a large input is worked on in, each by a job of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `total` contiguous parts; `number` counts from 0."""

    number: int
    total: int

    def range_of(self, count: int) -> range:
        """Which of `count` things in a row are in this part; every one is in exactly one of the parts."""
        return range(count * self.number // self.total, count * (self.number + 1) // self.total)


WHOLE = Shard(0, 1)
