"""Ways to do something, timed in turns in one process: what drifts, drifts for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

Way = Callable[[], object]


@attrs.frozen
class Spread:
    """The median of some values, and their extremes."""

    median: float
    least: float
    most: float
    n: int

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Spread:
        """Median and quartiles of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def spell(self, digits: int = 2) -> str:
        """As in a table: 1.68 (1.66 to 1.71)."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def in_turns(
    ways: Mapping[str, Way], rounds: int, times: int = 1
) -> dict[str, list[float]]:
    """Seconds that each way takes for so many ``times``, for each round; a round begins with another, one warms up."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            for _ in range(times):
                ways[name]()
            if number >= 0:
                seconds[name].append((time.perf_counter() - start) / times)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], name: str, to: str) -> Spread:
    """How often one way goes into another, round by round."""
    return Spread.from_values(
        [a / b for a, b in zip(seconds[name], seconds[to], strict=True)]
    )
