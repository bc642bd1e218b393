"""How values are distributed: counts below bounds, as OpenMetrics calls it a histogram."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Distribution:
    """Counts of values, each up to one of `bounds`; the last count is of all that are greater."""

    __slots__ = ("bounds", "counts", "greatest", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        #: The greatest value since `take_greatest`.
        self.greatest = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        if value > self.greatest:
            self.greatest = value

    def take_greatest(self) -> float:
        """The greatest value since this was last asked."""
        greatest, self.greatest = self.greatest, 0.0
        return greatest

    def buckets(self) -> list[tuple[str, float]]:
        """How many values are at most each bound: ("0.1", 7), …, ("+Inf", 9)."""
        found, total = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found
