"""What a sweep over the sizes of a set has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from robustfw.evaluation._intervals import wilson
from robustfw.evaluation._views import SHARE_HEADS, html_table, share_cells


@attrs.frozen(eq=False)
class Fooled:
    """What became of each example of a batch over the sweep."""

    at: Tensor
    """Whether the net is fooled at each factor, (n, factors)."""
    smallest: Tensor
    """The smallest factor found that fools the net, (n,); 0 where it is wrong from the start, ∞ if none has."""

    @classmethod
    def concatenate(cls, parts: Iterable[Fooled]) -> Fooled:
        """Several batches as one, in their order."""
        batches = list(parts)
        at = torch.cat([batch.at for batch in batches])
        smallest = torch.cat([batch.smallest for batch in batches])
        return cls(at, smallest)


@attrs.frozen
class Sweep:
    """Accuracy at each factor, of all n examples."""

    n: int
    """Examples."""
    factors: tuple[float, ...]
    """Sizes of the set, as multiples of it."""
    correct: tuple[int, ...]
    """Examples that are right under attack, at each factor."""
    accuracy: tuple[float, ...]
    """correct / n at each factor."""
    intervals: tuple[tuple[float, float], ...]
    """95 % interval of the accuracy, at each factor."""
    quartiles: tuple[float, float, float]
    """Quartiles of the smallest factor that fools the net; ∞ where a quarter, a half … was not fooled."""
    beyond: int
    """Examples that no factor of the sweep has fooled."""

    @classmethod
    def from_fooled(cls, fooled: Fooled, factors: Sequence[float]) -> Sweep:
        """Counts, shares and Wilson's intervals."""
        n = len(fooled.at)
        # 1. accuracy at each factor
        withstood = ~fooled.at
        correct = withstood.sum(0).tolist()
        accuracy = [count / n for count in correct]
        intervals = [wilson(count, n) for count in correct]
        # 2. quartiles of the smallest factor that fools
        ordered = fooled.smallest.sort().values
        first = float(ordered[n // 4])
        median = float(ordered[n // 2])
        third = float(ordered[3 * n // 4])
        return cls(
            n=n,
            factors=tuple(factors),
            correct=tuple(correct),
            accuracy=tuple(accuracy),
            intervals=tuple(intervals),
            quartiles=(first, median, third),
            beyond=int(fooled.smallest.isinf().sum()),
        )

    def to_row(self) -> dict[str, Any]:
        """A flat dict, for ``pandas.DataFrame([result.to_row(), …])``: the accuracy at each factor, by its name."""
        first, median, third = self.quartiles
        row: dict[str, Any] = {"n": self.n, "beyond": self.beyond}
        for factor, accuracy in zip(self.factors, self.accuracy, strict=True):
            row[f"accuracy at {factor:g}"] = accuracy
        return row | {
            "first quartile": first,
            "median": median,
            "third quartile": third,
        }

    def _repr_html_(self) -> str:
        """A table for notebooks, a row for each factor."""
        rows = []
        points = zip(self.factors, self.correct, self.intervals, strict=True)
        for factor, correct, interval in points:
            rows.append(share_cells(f"{factor:g} × the set", correct, self.n, interval))
        return html_table(SHARE_HEADS, rows)
