"""(x, y): the interface of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.splits import Splits


@attrs.frozen
class DataSpec:
    """What is known of a data set before the first example: shape, classes, range, names, statistics."""

    shape: tuple[int, ...]
    """Shape of one example, channels first."""
    classes: int
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """The closed range of every value, which perturbed examples keep; None where there is none."""
    mean: tuple[float, ...] | None = None
    """Mean per channel over the training examples, for a standardising layer; None: unknown."""
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    """Names of the classes, in their order."""


class Dataset(ABC):
    """Examples in a declared range, split into train, validation and test.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @abstractmethod
    def load(self, root: Path) -> Splits:
        """The splits; ``root`` is the folder where files are kept.

        Validation is cut from train, never from test. The same options give the same splits. Nothing
        is downloaded before this call.
        """
