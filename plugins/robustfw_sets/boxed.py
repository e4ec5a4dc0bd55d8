"""What the regions of this package share: a set with the data range as a part of itself, solved in magnitudes."""

from __future__ import annotations

from typing import Self

import attrs
import torch
from torch import Tensor

from robustfw.regions import Bound, Region, exact, exact_bound, per_row, step_per_row, toward_zero, with_unit_maximum


@attrs.frozen(eq=False)
class BoxedRegion(Region):
    """S ∩ {lower ≤ δ ≤ upper} for a set S of a radius, symmetric in each coordinate, that shrinks with the magnitudes.

    With every δ, S contains all points that are nearer to 0 in each coordinate. So only magnitudes have to be solved
    for, (batch, d) in float64: the room of a coordinate is the side of the box that it wants to move to. Results are
    rounded toward zero, which keeps members members.
    """

    like: Tensor
    radius: Tensor
    """(batch, 1), float64."""
    lower: Tensor
    """(batch, d), float64; −∞ until `within` gives a box."""
    upper: Tensor

    def within(self, lower: Bound, upper: Bound) -> Self:
        """The same set and a smaller box; exact, like everything here."""
        bounds = (torch.as_tensor(b, dtype=self.lower.dtype, device=self.lower.device) for b in (lower, upper))
        low, high = (bound.expand_as(self.like).flatten(1) for bound in bounds)
        return attrs.evolve(self, lower=torch.maximum(self.lower, low), upper=torch.minimum(self.upper, high))

    def scaled(self, factor: Tensor | float) -> Self:
        """factor·𝒰: radius and box."""
        by = per_row(factor, self.radius)
        low, high = (torch.where(by > 0, by * side, 0) for side in (self.lower, self.upper))
        return attrs.evolve(self, radius=by * self.radius, lower=low, upper=high)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over step·S with δ + s in the box: nothing is spent where there is no room."""
        point = exact(delta).flatten(1)
        low, high = (self.lower - point).clamp(max=0), (self.upper - point).clamp(min=0)
        radius = step_per_row(step, self.radius) * self.radius
        return attrs.evolve(self, radius=radius, lower=low, upper=high).support(direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩, which is exact, in float64."""
        towards = exact(direction)
        return exact_bound(towards, attrs.evolve(self, like=exact(self.like)).support(towards))

    def _box_violation(self, point: Tensor) -> Tensor:
        """The way out of the box, (batch,), for δ of (batch, d)."""
        return torch.maximum(self.lower - point, point - self.upper).amax(1).clamp(min=0)

    def _rows(self, tensor: Tensor) -> Tensor:
        """(batch, d), float64."""
        return exact(tensor).flatten(1)

    def _direction_rows(self, direction: Tensor) -> Tensor:
        """A direction, (batch, d), float64, of largest magnitude 1."""
        return with_unit_maximum(exact(direction)).flatten(1)

    def _room(self, rows: Tensor) -> Tensor:
        """How far each coordinate may move to the side it wants to, (batch, d)."""
        return torch.where(rows > 0, self.upper, -self.lower).clamp(min=0)

    def _member(self, magnitudes: Tensor, signs: Tensor, like: Tensor) -> Tensor:
        """Magnitudes with signs, in the shape and type of a tensor that was asked about."""
        return toward_zero(magnitudes.copysign(signs), like.dtype).reshape(like.shape)


def infinite_sides(like: Tensor) -> tuple[Tensor, Tensor]:
    """The sides of no box, (batch, d)."""
    infinite = torch.full_like(exact(like).flatten(1), torch.inf)
    return -infinite, infinite
