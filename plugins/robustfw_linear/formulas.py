"""Sets of rows that are known in formulas: their base class, and their options as numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from robustfw import UncertaintySet, UsageError
from robustfw_linear.conic import Conic

Array = NDArray[np.float64]


def numbers(value: ArrayLike) -> Array:
    """Converter of attrs: an array of float64."""
    return np.asarray(value, dtype=float)


def check_not_negative(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    """Validator of attrs: finite numbers, not negative."""
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise UsageError(f"{field.name} must be finite and not negative, not {value}")


def check_finite(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    """Validator of attrs: finite numbers."""
    if not np.isfinite(value).all():
        raise UsageError(f"{field.name} must be finite, not {value}")


def broadcast(value: Array, shape: tuple[int, ...], name: str) -> Array:
    """An option's numbers for coefficients of this shape."""
    try:
        return np.broadcast_to(value, shape)
    except ValueError as error:
        raise UsageError(
            f"{name} of shape {value.shape} does not fit coefficients of shape {shape}: "
            "give a number, one per column, or one per coefficient"
        ) from error


def as_tensor(value: Array, x: Tensor) -> Tensor:
    """Numbers as a tensor of float64 on the device of x."""
    tensor = torch.as_tensor(np.array(value))
    return tensor.to(torch.float64).to(x.device)


def one_or_each(
    conic: Callable[[int], Conic], rows: int, *numbers: Array
) -> list[Conic]:
    """The sets of so many rows: one object for all where no number depends on the row, else one for each.

    ``conic`` makes the set of one row. Numbers that are broadcast over the rows have a stride of 0 there.
    """
    if rows and not any(part.strides[0] for part in numbers):
        return [conic(0)] * rows
    return [conic(i) for i in range(rows)]


class ExplicitSet(UncertaintySet):
    """A set of rows that is known in formulas, not only by its oracles. Subclasses are frozen attrs classes."""

    @abstractmethod
    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula of the set for each of so many rows, each of ``width`` coefficients."""
