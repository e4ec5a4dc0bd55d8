"""The fields of a sweep over radii."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from robustfw.results._words import (
    Interval,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]


@attrs.frozen
class MinimalRadius:
    """The radius at which examples fall, over all examples; null where that is beyond the largest radius tried."""

    median: float | None
    """The median over examples."""
    quartiles: tuple[float | None, float | None]
    """The first and the third quartile over examples."""
    beyond: int
    """Examples that withstand the largest radius."""


@attrs.frozen
class SweepFields:
    """Robust accuracy of a run at several radii."""

    uncertainty: str
    attack: str
    n: int
    radii: tuple[float, ...]
    """Radii of the set, growing."""
    correct: tuple[int, ...]
    """Examples that are right under attack, at each radius."""
    accuracy: tuple[float, ...]
    """correct / n at each radius."""
    intervals: tuple[Interval, ...]
    """95 % interval of the accuracy, at each radius."""
    minimal_radius: MinimalRadius | None = None
    independent: bool = False
    """Whether each radius was attacked on its own."""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        lengths = {
            len(self.radii),
            len(self.correct),
            len(self.accuracy),
            len(self.intervals),
        }
        if len(lengths) != 1:
            raise ValueError(
                "radii, correct, accuracy and intervals are not of one length"
            )
        if not self.radii:
            raise ValueError("there is no radius")
