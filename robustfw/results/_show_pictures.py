"""Examples beside their worst cases, as a figure for Python and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustfw.errors import DataError
from robustfw.results._picture_grid import (
    COLUMNS,
    Floats,
    draw_grid,
    rows_of_changes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_pictures(
    original: Any,
    adversarial: Any,
    *,
    before: Sequence[str] | None = None,
    after: Sequence[str] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    most: int = 2 * COLUMNS,
) -> Figure:
    """A figure of images in three rows: originals, what was changed times a factor, and adversarial examples.

    The factor stands below each change; red adds and blue takes away. Of colours the one that changes most is drawn.

    Args:
        original: x, (n, 1 or 3, height, width), a tensor or an array.
        adversarial: x̃ of the same shape.
        before: words below each original.
        after: words below each adversarial example.
        bounds: the values of black and white.
        most: examples that are drawn at most, the first ones.

    Returns:
        A matplotlib figure, which a notebook shows, and ``figure.savefig("pictures.png")`` writes.

    Raises:
        DataError: the two are not images of one shape, or there are not as many words as images.
    """
    x = _to_array(original, "original")
    perturbed = _to_array(adversarial, "adversarial")
    if x.shape != perturbed.shape:
        raise DataError(
            f"original has the shape {x.shape} and adversarial {perturbed.shape}: give images of one shape"
        )
    if not len(x):
        raise DataError("there is not one image to show")
    for name, words in (("before", before), ("after", after)):
        if words is not None and len(words) != len(x):
            raise DataError(
                f"{name} has {len(words)} words for {len(x)} images: give one for each"
            )
    low, high = bounds
    width = (high - low) or 1.0
    return draw_grid(
        rows_of_changes(
            (x[:most] - low) / width,
            (perturbed[:most] - low) / width,
            before=[""] * len(x) if before is None else before,
            after=[""] * len(x) if after is None else after,
        )
    )


def _to_array(images: Any, name: str) -> Floats:
    """Images as an array (n, channels, height, width); a `DataError` where they are none."""
    if not isinstance(images, np.ndarray):
        # a tensor: this package imports no torch
        images = images.detach().cpu().float().numpy()
    array = np.asarray(images, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DataError(
            f"{name} has the shape {array.shape}: give images (n, 1 or 3, height, width)"
        )
    return array
