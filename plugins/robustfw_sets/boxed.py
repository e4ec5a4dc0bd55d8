"""The base class of regions that have the data range as a part of themselves and are solved in magnitudes."""

from __future__ import annotations

from typing import Self

import attrs
import torch
from torch import Tensor

from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    per_row,
    round_toward_zero,
    step_per_row,
    with_unit_maximum,
)


@attrs.frozen(eq=False)
class BoxedRegion(Region):
    """S ∩ {lower ≤ δ ≤ upper} for a set S that is symmetric in each coordinate and scales with a radius.

    With every δ, S contains all points that are nearer to 0 in each coordinate. So only magnitudes have to be solved
    for, (batch, d) in float64, between 0 and the side of the box to which a coordinate moves, its room. Results are
    rounded toward zero, so that members stay members.
    """

    like: Tensor
    radius: Tensor
    """The radius of each row, (batch, 1), float64."""
    lower: Tensor
    """Lower sides of the box, (batch, d), float64; −∞ until `clip` gives a box."""
    upper: Tensor
    """Upper sides of the box, (batch, d), float64; ∞ until `clip` gives a box."""

    def clip(self, lower: Bound, upper: Bound) -> Self:
        """The region of this set S with the smaller of both boxes, with exact oracles."""
        dtype = self.lower.dtype
        device = self.lower.device
        low = (
            torch.as_tensor(lower, dtype=dtype, device=device)
            .expand_as(self.like)
            .flatten(1)
        )
        high = (
            torch.as_tensor(upper, dtype=dtype, device=device)
            .expand_as(self.like)
            .flatten(1)
        )
        return attrs.evolve(
            self,
            lower=torch.maximum(self.lower, low),
            upper=torch.minimum(self.upper, high),
        )

    def scale(self, factor: Tensor | float) -> Self:
        """factor·𝒰, by the radius and the box."""
        factors = per_row(factor, self.radius)
        low = torch.where(factors > 0, factors * self.lower, 0)
        high = torch.where(factors > 0, factors * self.upper, 0)
        return attrs.evolve(self, radius=factors * self.radius, lower=low, upper=high)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over step·S with δ + s in the box, so that only coordinates with room move.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        point = exact(delta).flatten(1)
        low = (self.lower - point).clamp(max=0)
        high = (self.upper - point).clamp(min=0)
        radius = step_per_row(step, self.radius) * self.radius
        return attrs.evolve(self, radius=radius, lower=low, upper=high).support(
            direction
        )

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩ by the exact support in float64, and a margin for rounding; (batch,)."""
        gradient = exact(direction)
        precise = attrs.evolve(self, like=exact(self.like))
        return exact_bound(gradient, precise.support(gradient))

    def _box_violation(self, point: Tensor) -> Tensor:
        """The largest distance of a coordinate of δ, (batch, d), from the box; 0 inside, (batch,)."""
        beyond = torch.maximum(self.lower - point, point - self.upper)
        return beyond.amax(1).clamp(min=0)

    def _rows(self, tensor: Tensor) -> Tensor:
        """A tensor of the shape of δ as (batch, d), float64."""
        return exact(tensor).flatten(1)

    def _direction_rows(self, direction: Tensor) -> Tensor:
        """A direction as (batch, d), float64, scaled to largest magnitude 1."""
        return with_unit_maximum(exact(direction)).flatten(1)

    def _room(self, rows: Tensor) -> Tensor:
        """How far each coordinate may move in the direction of its sign in ``rows``, (batch, d)."""
        side = torch.where(rows > 0, self.upper, -self.lower)
        return side.clamp(min=0)

    def _member(self, magnitudes: Tensor, signs: Tensor, like: Tensor) -> Tensor:
        """Magnitudes (batch, d) with the signs of ``signs``, rounded toward 0, in the shape and type of ``like``."""
        return round_toward_zero(magnitudes.copysign(signs), like.dtype).reshape(
            like.shape
        )


def infinite_sides(like: Tensor) -> tuple[Tensor, Tensor]:
    """The sides −∞ and ∞ of an infinite box, (batch, d) each, float64."""
    infinite = torch.full_like(exact(like).flatten(1), torch.inf)
    return -infinite, infinite
