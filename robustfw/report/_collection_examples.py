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
    """Rows of a collection."""

    original: Floats
    """(n, channels, height, width), as all images here."""
    adversarial: Floats
    y: Integers
    label: Integers
    """What the net they were crafted against takes the adversarial for."""
    confidence: Floats
    """Its probabilities of ``y`` at the original and of ``label`` at the adversarial, (n, 2)."""
    set: Integers

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Any) -> CollectionImages:
        return CollectionImages(*(getattr(self, field.name)[rows] for field in attrs.fields(CollectionImages)))

    @property
    def delta(self) -> Floats:
        """What was added."""
        return self.adversarial - self.original

    def pixel_changes(self) -> NDArray[np.bool_]:
        """Which pixels differ, in any channel, (n, height, width)."""
        return np.asarray((np.abs(self.delta) > ROUNDING).any(axis=1))


def read(collection: ReportedCollection) -> CollectionImages | None:
    """The examples that are images and fool their net, in the collection's order; None where they are no images."""
    file = collection.tensors
    try:
        tensors = load_file(plain_file(file))
        found = CollectionImages(*(tensors[field.name] for field in attrs.fields(CollectionImages)))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise damage_error(file, f"no examples can be read: {error}") from error
    n = len(found.y)
    lengths = {len(getattr(found, field.name)) for field in attrs.fields(CollectionImages)}
    if lengths != {n} or found.original.shape != found.adversarial.shape or found.confidence.shape != (n, 2):
        raise damage_error(file, "its tensors do not fit together")
    if n and not 0 <= found.set.min() <= found.set.max() < len(collection.manifest.sets):
        raise damage_error(file, "an example is of a set that its manifest does not name")
    return found[found.label != found.y] if found.original.ndim == 4 else None


def take_turns(first: Integers, then: Integers, most: int) -> list[int]:
    """Rows, one of each value of ``first`` in turn, and of these one of each value of ``then`` in turn."""
    queues = {int(value): _in_turn(np.flatnonzero(first == value), then) for value in np.unique(first)}
    chosen: list[int] = []
    while any(queues.values()) and len(chosen) < most:
        chosen += [queue.pop(0) for queue in queues.values() if queue]
    return chosen[:most]


def _in_turn(rows: NDArray[np.intp], values: Integers) -> list[int]:
    """Rows of each value in turn: the first of each, then the second of each, and so on."""
    seen: dict[int, int] = {}
    order = []
    for row in rows.tolist():
        value = int(values[row])
        seen[value] = seen.get(value, 0) + 1
        order.append((seen[value], value, row))
    return [row for _, _, row in sorted(order)]
