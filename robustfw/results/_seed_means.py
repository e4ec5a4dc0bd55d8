"""Means over seeds, with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with ``freedom`` degrees of freedom."""
    # here, as the import takes a moment
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


@attrs.frozen
class Mean:
    """A mean over seeds with its 95 % interval, mean ± t·s/√n; without an interval for one seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean of the values."""
        return statistics.fmean(self.values)

    @property
    def half(self) -> float:
        """Half the interval's length; ∞ where one seed says nothing of others."""
        n = len(self.values)
        if n < 2:
            return math.inf
        return student_quantile(n - 1) * statistics.stdev(self.values) / math.sqrt(n)

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half

    def spell(self, unit: str = " %", digits: int = 2, *, sign: bool = False) -> str:
        """The mean as a text: 99.31 ± 0.05 %; as a difference: +0.12 ± 0.05 points.

        Args:
            unit: what follows the numbers.
            digits: after the point.
            sign: whether a positive mean has its sign.
        """
        plus = "+" if sign else ""
        interval = f" ± {self.half:.{digits}f}" if math.isfinite(self.half) else ""
        return f"{self.mean:{plus}.{digits}f}{interval}{unit}"


def paired_differences(first: Sequence[float], second: Sequence[float]) -> Mean:
    """The differences of two nets' values, seed by seed: the same seeds in the same order."""
    return Mean(tuple(a - b for a, b in zip(first, second, strict=True)))
