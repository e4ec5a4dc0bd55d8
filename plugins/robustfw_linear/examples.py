"""Examples with labels −1 and 1, and their hinge loss: what the linear classifiers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustfw import UsageError

Array = NDArray[np.float64]


def check_examples(examples: Array, labels: Array) -> None:
    """Refuse examples and labels whose shapes do not fit, and labels other than −1 and 1."""
    if examples.ndim != 2 or labels.shape != examples.shape[:1] or not len(labels):
        raise UsageError(
            f"shapes do not fit: examples (m, n) and labels (m,) are {examples.shape} and {labels.shape}"
        )
    if not np.isin(labels, (-1, 1)).all():
        raise UsageError("labels must be -1 and 1")


def hinges(examples: Array, labels: Array, x: Array) -> Array:
    """The hinge loss of each example at x = (w, b), (m,)."""
    outputs = examples @ x[:-1] + x[-1]
    return np.maximum(0, 1 - labels * outputs)
