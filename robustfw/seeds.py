"""Means over seeds, with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t with 1, 2, … degrees of freedom."""


def student(freedom: int) -> float:
    """97.5 % quantile of Student's t; from 10 degrees of freedom on by the first terms of its expansion at 1.96."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = 1.959964
    second, third = 5 * z**5 + 16 * z**3 + 3 * z, 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    return z + (z**3 + z) / (4 * freedom) + second / (96 * freedom**2) + third / (384 * freedom**3)


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
        return student(n - 1) * statistics.stdev(self.values) / math.sqrt(n)

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    def spelled(self, unit: str = " %", digits: int = 2, *, sign: bool = False) -> str:
        """As in a table: 99.31 ± 0.05 %; with its sign if it is a difference: +0.12 ± 0.05 points."""
        tail = f" ± {self.half:.{digits}f}" if math.isfinite(self.half) else ""
        return f"{self.mean:{'+' if sign else ''}.{digits}f}{tail}{unit}"


def minus(first: Sequence[float], second: Sequence[float]) -> Mean:
    """The differences of what belongs to the same seeds."""
    return Mean(tuple(a - b for a, b in zip(first, second, strict=True)))
