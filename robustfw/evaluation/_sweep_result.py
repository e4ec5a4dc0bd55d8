"""What a sweep over the sizes of a set has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import torch
from torch import Tensor

from robustfw.evaluation._intervals import wilson


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
