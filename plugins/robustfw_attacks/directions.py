"""Directions and lengths of vectors of any size: scaled first, so that no square underflows or overflows."""

from __future__ import annotations

from torch import Tensor

from robustfw.regions import norms, per_row, wide


def unit_rows(direction: Tensor) -> Tensor:
    """direction / max_j |direction_j| of each row, as exact as the division; 0 where a row vanishes.

    The result is the same for g and 1e-30·g, and its squares neither underflow nor overflow.
    """
    largest = per_row(direction.flatten(1).abs().amax(1), direction)
    return (direction / largest).masked_fill(largest == 0, 0)


def unit_mean(direction: Tensor) -> Tensor:
    """direction / mean_j |direction_j| of each row: gradients of any size count alike in a sum; zeros stay zeros."""
    unit = unit_rows(direction)
    mean = unit.flatten(1).abs().mean(1)
    return unit / per_row(mean.masked_fill(mean == 0, 1), unit)


def lengths(delta: Tensor) -> Tensor:
    """‖δ‖₂ of each row, (batch,), in float32 at least; right also where the squares of its entries overflow."""
    exact = delta.to(wide(delta.dtype))
    largest = exact.flatten(1).abs().amax(1)
    return largest * norms(unit_rows(exact))
