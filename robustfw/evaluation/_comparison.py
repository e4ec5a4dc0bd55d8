"""Two nets on the same examples: what is paired is compared in pairs."""

from __future__ import annotations

import math

import attrs
from torch import Tensor

from robustfw.evaluation._intervals import Z95


@attrs.frozen
class Comparison:
    """A table of two by two: which of two nets has an example right."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    """Accuracy of the second less that of the first."""
    interval: tuple[float, float]
    """Of the difference, 95 %."""
    p: float
    """McNemar's exact test, two-sided, that neither is better."""

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Comparison:
        """From what each net has right, (n,) bool, of the same examples in the same order."""
        n, b, c = len(first), int((first & ~second).sum()), int((~first & second).sum())
        both = int((first & second).sum())
        return cls(both, b, c, n - both - b - c, (c - b) / n, paired_interval(b, c, n), mcnemar(b, c))


def mcnemar(b: int, c: int) -> float:
    """P(a split at least as uneven as b : c | each is as likely), two-sided and exact (McNemar 1947)."""
    n = b + c
    tail = sum(math.exp(_log_choose(n, k) - n * math.log(2)) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def paired_interval(b: int, c: int, n: int) -> tuple[float, float]:
    """Of the difference (c − b)/n of paired proportions, 95 %: Wald's, a half added to each cell (Agresti & Min 2005).

    With b' = b + ½, c' = c + ½, n' = n + 2: (c' − b')/n' ± z·√(b' + c' − (c' − b')²/n')/n'.
    """
    more, fewer, total = c + 0.5, b + 0.5, n + 2
    centre = (more - fewer) / total
    half = Z95 * math.sqrt(more + fewer - (more - fewer) ** 2 / total) / total
    return max(-1.0, centre - half), min(1.0, centre + half)
