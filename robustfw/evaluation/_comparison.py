"""Two nets on the same examples: what is paired is compared in pairs."""

from __future__ import annotations

import math
from typing import Any

import attrs
from torch import Tensor

from robustfw.evaluation._intervals import Z95
from robustfw.evaluation._views import flat_row, html_table


@attrs.frozen
class Comparison:
    """A table of two by two: which of two nets has an example right."""

    both: int
    """Examples that both nets have right."""
    only_first: int
    """Examples that only the first net has right."""
    only_second: int
    """Examples that only the second net has right."""
    neither: int
    """Examples that neither net has right."""
    difference: float
    """Accuracy of the second less that of the first."""
    interval: tuple[float, float]
    """95 % interval of the difference."""
    p: float
    """McNemar's exact test, two-sided, that neither is better."""

    @classmethod
    def from_masks(cls, first: Tensor, second: Tensor) -> Comparison:
        """The comparison of two masks, (n,) bool each: which of the same n examples each net has right."""
        n = len(first)
        both = int((first & second).sum())
        only_first = int((first & ~second).sum())
        only_second = int((~first & second).sum())
        return cls(
            both=both,
            only_first=only_first,
            only_second=only_second,
            neither=n - both - only_first - only_second,
            difference=(only_second - only_first) / n,
            interval=difference_interval(only_first, only_second, n),
            p=mcnemar(only_first, only_second),
        )

    def to_row(self) -> dict[str, Any]:
        """A flat dict, for ``pandas.DataFrame([result.to_row(), …])``."""
        return flat_row(attrs.asdict(self))

    def _repr_html_(self) -> str:
        """A table for notebooks: two by two, and the difference with its interval."""
        low, high = self.interval
        rows = [
            ["first right", str(self.both), str(self.only_first)],
            ["first wrong", str(self.only_second), str(self.neither)],
            [
                "difference",
                f"{self.difference:+.2%}",
                f"95 % interval {low:+.2%} to {high:+.2%}, p = {self.p:.3g}",
            ],
        ]
        return html_table(("", "second right", "second wrong"), rows)


def mcnemar(b: int, c: int) -> float:
    """P(a split at least as uneven as b : c | each is as likely), two-sided and exact (McNemar 1947)."""
    n = b + c
    tail = sum(
        math.exp(_log_choose(n, k) - n * math.log(2)) for k in range(min(b, c) + 1)
    )
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def difference_interval(b: int, c: int, n: int) -> tuple[float, float]:
    """95 % interval of the difference (c − b)/n of paired proportions.

    Wald's interval with a half added to each cell (Agresti & Min 2005): with b' = b + ½, c' = c + ½, n' = n + 2 it is
    (c' − b')/n' ± z·√(b' + c' − (c' − b')²/n')/n', cut to [−1, 1].

    Args:
        b: examples that only the first net has right.
        c: examples that only the second net has right.
        n: all examples.
    """
    more = c + 0.5
    fewer = b + 0.5
    total = n + 2
    difference = more - fewer
    centre = difference / total
    spread = math.sqrt(more + fewer - difference**2 / total)
    half = Z95 * spread / total
    low = max(-1.0, centre - half)
    high = min(1.0, centre + half)
    return low, high
