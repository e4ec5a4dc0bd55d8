"""Claims decided by intervals over seeds, not by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

# Φ-like quantiles of Student's t at 0.975, by degrees of freedom; beyond, the normal one is within 2 %.
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


@attrs.frozen
class Mean:
    """A mean over seeds with its 95 % interval, mean ± t·s/√n; without an interval for one seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values)

    @property
    def half(self) -> float:
        """Half the interval's length; ∞ where one seed says nothing of others."""
        n = len(self.values)
        if n < 2:
            return math.inf
        return (T95[n - 2] if n - 2 < len(T95) else 1.96) * statistics.stdev(self.values) / math.sqrt(n)

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    def spelled(self, unit: str = " %", digits: int = 2) -> str:
        """As in a table: 99.31 ± 0.05 %."""
        tail = f" ± {self.half:.{digits}f}" if math.isfinite(self.half) else ""
        return f"{self.mean:.{digits}f}{tail}{unit}"


def minus(first: Sequence[float], second: Sequence[float]) -> Mean:
    """The differences of what belongs to the same seeds."""
    return Mean(tuple(a - b for a, b in zip(first, second, strict=True)))


def above(mean: Mean, limit: float = 0.0) -> str:
    """Whether the quantity is above a limit, as far as its interval says."""
    if mean.low > limit:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < limit else UNDECIDED


def within(mean: Mean, low: float, high: float) -> str:
    """Whether the quantity is between two limits, as far as its interval says."""
    if low <= mean.low and mean.high <= high:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < low or mean.low > high else UNDECIDED


def all_of(verdicts: Sequence[str]) -> str:
    """Of a claim in several parts: one that fails refutes it, one that is open leaves it open."""
    if NOT_CONFIRMED in verdicts:
        return NOT_CONFIRMED
    return UNDECIDED if UNDECIDED in verdicts else CONFIRMED
