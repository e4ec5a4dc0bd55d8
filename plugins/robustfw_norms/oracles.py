"""Functions that the exact projections and linear maximizers of norm balls share; these are in `l1` and `l2`.

All work on (rows, d) tensors, one independent problem per row, without a loop over rows. A ball has its radius in
(rows, 1), a box its sides, lower ≤ 0 ≤ upper, and None stands for no box. With every δ each of these sets contains all
points of the same signs that are nearer to 0 in each coordinate. So only magnitudes have to be solved for, between 0
and the room u ≥ 0, the magnitude of the `corner` in the direction in which coordinates move.

The multiplier of the radius is found exactly, by Newton's method or along secants, on the piecewise linear or quadratic
equation that it satisfies; the iteration ends on the piece of the root. ℓ1 takes two more steps there, against the
rounding of the long sums. Where that would take many steps, and on devices where a test whether it has ended waits for
the device, the breakpoints are sorted.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

Sides: TypeAlias = tuple[Tensor, Tensor]
"""Lower and upper sides of a box, (rows, d) each."""
POLISH = 2
"""Newton steps after a search among sorted breakpoints; one suffices in all measured cases, and a second is cheap."""
CLIMB = 16
"""Largest number of Newton or secant steps before breakpoints are sorted."""


def may_look(rows: Tensor) -> bool:
    """Whether Python may read a value of the tensor without a wait for the device: on a CPU."""
    return rows.device.type == "cpu"


def corner(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """The farthest point in a direction of the cube of side 2r within the box, (rows, d); 0 where the direction is 0.

    Args:
        direction: (rows, d).
        sides: the sides of the box; None: no box.
        radius: r, (rows, 1).
    """
    farthest = direction.sign().mul_(radius)
    return farthest if sides is None else farthest.clamp_(*sides)


def keep_largest(gains: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest gains of each row of (rows, d); ties go to the lower index."""
    order = gains.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(gains, dtype=torch.bool).scatter(1, order, True)
