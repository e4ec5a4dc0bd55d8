"""The region that all convex norm balls share: a norm of at most r, and the data box as a part of itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    per_row,
    round_toward_zero,
    step_per_row,
    wide,
)
from robustfw_norms.oracles import Sides, corner

Ball = TypeVar("Ball", bound="NormBall")
Oracle = Callable[[Tensor, Sides | None, Tensor], Tensor]
"""(tensor, box, radius) ↦ δ, for rows that are independent of each other."""


@attrs.frozen(eq=False)
class NormBall(Region):
    """{‖δ‖ ≤ r} ∩ {lower ≤ δ ≤ upper}; without a box until `clip` gives one.

    With a radius per channel, the set is the product of the channels' balls. Half-precision inputs are computed in
    float32 and the results rounded toward zero, so that members stay members.
    """

    like: Tensor
    radius: Tensor
    """Radii, (batch, groups); a group is the whole example, or one channel."""
    lower: Tensor | None = None
    """Lower sides of the box, of the shape of δ; None: no box."""
    upper: Tensor | None = None
    """Upper sides of the box, of the shape of δ; None: no box."""

    @classmethod
    def at(cls: type[Ball], x: Tensor, radius: float | tuple[float, ...]) -> Ball:
        """The ball at every row of x, (batch, *shape), of one radius or of one for each channel.

        Raises:
            UsageError: there are several radii, but not one for each channel.
        """
        radii = radius if isinstance(radius, tuple) else (radius,)
        if len(radii) not in (1, x.shape[1]):
            raise UsageError(
                f"{len(radii)} radii do not fit {x.shape[1]} channels: give one radius, or one per channel"
            )
        radius_row = torch.tensor(radii, dtype=wide(x.dtype), device=x.device)
        return cls(x.detach(), radius_row.expand(len(x), -1))

    def clip(self: Ball, lower: Bound, upper: Bound) -> Ball:
        """The intersection of the ball and the box, with exact oracles."""
        dtype = wide(self.like.dtype)
        device = self.like.device
        low = torch.as_tensor(lower, dtype=dtype, device=device)
        low = low.expand_as(self.like)
        high = torch.as_tensor(upper, dtype=dtype, device=device)
        high = high.expand_as(self.like)
        if self.lower is not None and self.upper is not None:
            low = torch.maximum(low, self.lower)
            high = torch.minimum(high, self.upper)
        return attrs.evolve(self, lower=low, upper=high)

    def scale(self: Ball, factor: Tensor | float) -> Ball:
        """factor·𝒰, by the radius and the box."""
        factors = per_row(factor, self.like)
        radius = self.radius * factors.reshape(-1, 1)
        low = self.lower
        high = self.upper
        # ∞·0 is not a number
        if low is not None:
            low = torch.where(factors > 0, low * factors, 0)
        if high is not None:
            high = torch.where(factors > 0, high * factors, 0)
        return attrs.evolve(self, radius=radius, lower=low, upper=high)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over ‖s‖ ≤ step·r with δ + s in the box, so that only coordinates with room move.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to r, one for all rows or one per row, (batch,).
        """
        low = None if self.lower is None else self.lower - delta
        high = None if self.upper is None else self.upper - delta
        radius = self.radius * step_per_row(step, self.radius)
        room = attrs.evolve(self, radius=radius, lower=low, upper=high)
        return room.support(direction)

    def violation(self, delta: Tensor) -> Tensor:
        """The largest of ‖δ‖ − r, of the distances of coordinates from the box, and 0; (batch,)."""
        point = delta.to(wide(delta.dtype))
        excess = self._excess(self._split_groups(point))
        excess = excess.reshape(self.radius.shape)
        beyond_ball = excess.amax(1).clamp(min=0)
        beyond_ball = beyond_ball.to(point.dtype)
        if self.lower is None or self.upper is None:
            return beyond_ball
        below = self.lower.to(point.dtype) - point
        above = point - self.upper.to(point.dtype)
        beyond_sides = torch.maximum(below, above)
        beyond_box = beyond_sides.flatten(1).amax(1)
        return torch.maximum(beyond_ball, beyond_box)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩ by the exact support in float64, and a margin for rounding; (batch,)."""
        low = None if self.lower is None else exact(self.lower)
        high = None if self.upper is None else exact(self.upper)
        precise = attrs.evolve(
            self,
            like=exact(self.like),
            radius=exact(self.radius),
            lower=low,
            upper=high,
        )
        gradient = exact(direction)
        return exact_bound(gradient, precise.support(gradient))

    @abstractmethod
    def _excess(self, grouped: Tensor) -> Tensor:
        """‖δ‖ − r of each group in float64, (batch·groups,), for δ of shape (batch·groups, d).

        Sums of many squares in float32 lose digits: a member of 150,000 coordinates would count as outside.
        """

    @property
    def _radii(self) -> Tensor:
        """The radius of each group, (batch·groups, 1)."""
        return self.radius.reshape(-1, 1)

    def _split_groups(self, tensor: Tensor) -> Tensor:
        """A tensor of the shape of δ with one row for each group, (batch·groups, d)."""
        size = tensor.flatten(1).shape[1] // self.radius.shape[1]
        return tensor.reshape(self.radius.numel(), size)

    def _solve(self, tensor: Tensor, oracle: Oracle) -> Tensor:
        """The members that an oracle of `robustfw_norms.l1` or `l2` gives for every group of every row."""
        groups = self._exact(tensor)
        solution = oracle(groups, self._sides(groups), self._radii)
        return self._member(solution, tensor)

    def _exact(self, tensor: Tensor) -> Tensor:
        """A tensor of the shape of δ with one row for each group, (batch·groups, d), in float32 at least."""
        return self._split_groups(tensor.to(wide(tensor.dtype)))

    @staticmethod
    def _member(solved: Tensor, like: Tensor) -> Tensor:
        """Solutions (batch·groups, d) in the shape and type of ``like``, rounded toward 0."""
        return round_toward_zero(solved, like.dtype).reshape(like.shape)

    def _sides(self, like: Tensor) -> Sides | None:
        """The sides of the box, (batch·groups, d) each, in the type of ``like``; None: no box."""
        if self.lower is None or self.upper is None:
            return None
        low = self._split_groups(self.lower).to(like)
        high = self._split_groups(self.upper).to(like)
        return low, high

    def _clamp(self, groups: Tensor) -> Tensor:
        """The nearest point of the cube of side 2r within the box, (batch·groups, d)."""
        clamped = groups.clamp(-self._radii, self._radii)
        sides = self._sides(groups)
        return clamped if sides is None else clamped.clamp_(*sides)

    def _corner(self, groups: Tensor) -> Tensor:
        """The farthest point of the cube of side 2r within the box in a direction; 0 where that is 0."""
        return corner(groups, self._sides(groups), self._radii)
