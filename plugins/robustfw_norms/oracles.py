"""What the exact projections and linear maximizers of norm balls share; `l1` and `l2` have those of their names.

Everything there works on (rows, d) tensors, one independent problem per row, without a loop over rows. A ball has its
radius in (rows, 1). A box is given by its corner in the direction that coordinates want to move, no farther out than
the radius and 0 where the direction is, and by None where there is no box; the corner's magnitudes u ≥ 0 are the room.
Magnitudes and signs are kept apart: each of these sets contains, with δ, every point that is nearer to 0 in each
coordinate and of the same sign, so only magnitudes have to be solved for.

The multiplier of the radius is found exactly: by Newton's method on the piecewise linear or quadratic equation that it
satisfies, which ends on the piece of the root and there takes two more steps, against the rounding of the long sums.
Where that would take many steps, and on devices where looking whether it has ended means waiting for them, the
breakpoints are sorted.
"""

from __future__ import annotations

import torch
from torch import Tensor

POLISH = 2
"""Newton steps after the sorted search. One is enough on all we measured; the second costs little."""
CLIMB = 16
"""Newton steps before breakpoints are sorted."""


def may_look(rows: Tensor) -> bool:
    """Whether Python may ask for a value: elsewhere than on a CPU that means waiting until the device is done."""
    return rows.device.type == "cpu"


def keep_largest(gains: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest gains of each row, ties to the lower index."""
    order = gains.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(gains, dtype=torch.bool).scatter(1, order, True)
