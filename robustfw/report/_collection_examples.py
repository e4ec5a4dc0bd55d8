"""The tensors of a transfer collection, read without torch, and which of its examples are shown."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robustfw.results._material import ReportedCollection
from robustfw.results._picture_grid import Floats
from robustfw.results._reading import damage_error, plain_file

Integers: TypeAlias = NDArray[np.int64]
ROUNDING = 1e-6
"""A pixel that differs by no more than this is the same."""


@attrs.frozen(eq=False)
class CollectionImages:
    """Rows of a transfer collection, in NumPy; `robustfw.evaluation.Examples` has them in torch."""

    original: Floats
    """Images as they are in the data, (n, channels, height, width)."""
    adversarial: Floats
    """Images that fool the net, (n, channels, height, width)."""
    y: Integers
    """The classes of the originals, (n,)."""
    label: Integers
    """The classes that the attacked net takes the adversarial images for, (n,)."""
    confidence: Floats
    """The attacked net's probability of ``y`` at the original and of ``label`` at the adversarial image, (n, 2)."""
    set: Integers
    """The index of the uncertainty set that each perturbation is in, (n,)."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Any) -> CollectionImages:
        return CollectionImages(
            *(
                getattr(self, field.name)[rows]
                for field in attrs.fields(CollectionImages)
            )
        )

    @property
    def delta(self) -> Floats:
        """The perturbations, (n, channels, height, width)."""
        return self.adversarial - self.original

    def pixel_changes(self) -> NDArray[np.bool_]:
        """Which pixels differ, in any channel, (n, height, width)."""
        return np.asarray((np.abs(self.delta) > ROUNDING).any(axis=1))


def read_images(collection: ReportedCollection) -> CollectionImages | None:
    """The examples that are images and fool their net, in the collection's order; None where they are no images.

    Raises:
        RunError: the file cannot be read, or its tensors do not fit each other or the manifest.
    """
    file = collection.tensors
    names = [field.name for field in attrs.fields(CollectionImages)]
    try:
        tensors = load_file(plain_file(file))
        images = CollectionImages(*(tensors[name] for name in names))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise damage_error(file, f"no examples can be read: {error}") from error
    n = len(images.y)
    same_length = all(len(getattr(images, name)) == n for name in names)
    same_shape = images.original.shape == images.adversarial.shape
    two_confidences = images.confidence.shape == (n, 2)
    if not (same_length and same_shape and two_confidences):
        raise damage_error(file, "its tensors do not fit together")
    sets = len(collection.manifest.sets)
    if n and not 0 <= images.set.min() <= images.set.max() < sets:
        raise damage_error(
            file, "an example is of a set that its manifest does not name"
        )
    if images.original.ndim == 4:
        return images[images.label != images.y]
    return None


def take_turns(first: Integers, then: Integers, most: int) -> list[int]:
    """Rows, one of each value of ``first`` in turn, and of these one of each value of ``then`` in turn.

    Args:
        first: a value of each row, (n,).
        then: another value of each row, (n,).
        most: how many rows, at most.

    Returns:
        The rows in the order in which they were taken.
    """
    queues = []
    for value in np.unique(first):
        queues.append(_order_by_turns(np.flatnonzero(first == value), then))
    rows: list[int] = []
    while any(queues) and len(rows) < most:
        rows += [queue.pop(0) for queue in queues if queue]
    return rows[:most]


def _order_by_turns(rows: NDArray[np.intp], values: Integers) -> list[int]:
    """Rows in another order: the first of each value, then the second of each, and so on."""
    counts: dict[int, int] = {}
    turns = []
    for row in rows.tolist():
        value = int(values[row])
        counts[value] = counts.get(value, 0) + 1
        turns.append((counts[value], value, row))
    return [row for _, _, row in sorted(turns)]
