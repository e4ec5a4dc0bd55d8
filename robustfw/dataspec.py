"""What is known of a data set before its first example."""

from __future__ import annotations

import attrs


@attrs.frozen
class DataSpec:
    """Shape, classes, range, statistics and names; what a model is built from."""

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
