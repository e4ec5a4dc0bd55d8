"""What the exact projections and linear maximizers of norm balls share; `l1` and `l2` have those of their names.

Everything there works on (rows, d) tensors, one independent problem per row, without a loop over rows. A ball has its
radius in (rows, 1), a box its sides, lower ≤ 0 ≤ upper, and None stands for no box. Each of these sets contains, with
δ, every point that is nearer to 0 in each coordinate and of the same sign, so only magnitudes have to be solved for:
the room u ≥ 0 is that of the `corner` in the direction that coordinates want to move.

The multiplier of the radius is found exactly: by Newton's method, or along secants, on the piecewise linear or
quadratic equation that it satisfies, which ends on the piece of the root; ℓ1 takes two more steps there, against the
rounding of the long sums. Where that would take many steps, and on devices where looking whether it has ended means
waiting for them, the breakpoints are sorted.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

Sides: TypeAlias = tuple[Tensor, Tensor]
"""Lower and upper sides of a box, (rows, d) each."""
POLISH = 2
"""Newton steps after the sorted search. One is enough on all we measured; the second costs little."""
CLIMB = 16
"""Newton steps before breakpoints are sorted."""


def may_look(rows: Tensor) -> bool:
    """Whether Python may ask for a value: elsewhere than on a CPU that means waiting until the device is done."""
    return rows.device.type == "cpu"


def corner(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """The farthest point in a direction of the cube of side 2r, within the box; 0 where the direction is."""
    farthest = direction.sign().mul_(radius)
    return farthest if sides is None else farthest.clamp_(*sides)


def keep_largest(gains: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest gains of each row, ties to the lower index."""
    order = gains.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(gains, dtype=torch.bool).scatter(1, order, True)
