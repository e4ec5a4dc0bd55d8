"""The regions of the convex norm balls: {‖δ‖ ≤ r}, each with the data box as a part of itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar, final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    step_per_row,
    uniform_like,
    wide,
    with_unit_maximum,
)
from robustfw_norms import l1, l2
from robustfw_norms.oracles import Sides, corner

Ball = TypeVar("Ball", bound="NormBall")
Oracle = Callable[[Tensor, Sides | None, Tensor], Tensor]
"""(tensor, box, radius) ↦ δ, for rows that are independent of each other."""

SPARSE = 0.7
"""Smallest length of a step on an ℓ1 ball, relative to the ball, that is a sparse step of steepest ascent."""

FARTHER = 3.0
"""Factor by which shorter steps on an ℓ1 ball are lengthened: the projection lowers all coordinates afterwards."""


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
        low = torch.as_tensor(lower, dtype=dtype, device=self.like.device).expand_as(
            self.like
        )
        high = torch.as_tensor(upper, dtype=dtype, device=self.like.device).expand_as(
            self.like
        )
        if self.lower is not None and self.upper is not None:
            low = torch.maximum(low, self.lower)
            high = torch.minimum(high, self.upper)
        return attrs.evolve(self, lower=low, upper=high)

    def scale(self: Ball, factor: Tensor | float) -> Ball:
        """factor·𝒰, by the radius and the box."""
        factors = per_row(factor, self.like)
        low = (
            None
            if self.lower is None
            else torch.where(factors > 0, self.lower * factors, 0)
        )
        high = (
            None
            if self.upper is None
            else torch.where(factors > 0, self.upper * factors, 0)
        )
        return attrs.evolve(
            self, radius=self.radius * factors.reshape(-1, 1), lower=low, upper=high
        )

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
        return attrs.evolve(self, radius=radius, lower=low, upper=high).support(
            direction
        )

    def violation(self, delta: Tensor) -> Tensor:
        """The largest of ‖δ‖ − r, of the distances of coordinates from the box, and 0; (batch,)."""
        point = delta.to(wide(delta.dtype))
        excess = self._excess(self._split_groups(point)).reshape(self.radius.shape)
        beyond_ball = excess.amax(1).clamp(min=0).to(point.dtype)
        if self.lower is None or self.upper is None:
            return beyond_ball
        below = self.lower.to(point.dtype) - point
        above = point - self.upper.to(point.dtype)
        beyond_box = torch.maximum(below, above).flatten(1).amax(1)
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
        return self._split_groups(self.lower).to(like), self._split_groups(
            self.upper
        ).to(like)

    def _clamp(self, groups: Tensor) -> Tensor:
        """The nearest point of the cube of side 2r within the box, (batch·groups, d)."""
        clamped = groups.clamp(-self._radii, self._radii)
        sides = self._sides(groups)
        return clamped if sides is None else clamped.clamp_(*sides)

    def _corner(self, groups: Tensor) -> Tensor:
        """The farthest point of the cube of side 2r within the box in a direction; 0 where that is 0."""
        return corner(groups, self._sides(groups), self._radii)


@final
class LinfBall(NormBall):
    """{‖δ‖_∞ ≤ r} ∩ box: each coordinate by at most r."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return grouped.abs().amax(1) - self.radius.flatten()

    def project(self, point: Tensor) -> Tensor:
        """Each coordinate clamped to the ball and the box."""
        return self._member(self._clamp(self._exact(point)), point)

    def support(self, direction: Tensor) -> Tensor:
        """r·sign(g), clamped to the box (eq. 2); 0 where g_j = 0."""
        return self._member(self._corner(self._exact(direction)), direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Members drawn uniformly from the ball ∩ box."""
        u = uniform_like(self.like, generator)
        low = self.support(-torch.ones_like(u))
        high = self.support(torch.ones_like(u))
        return round_toward_zero(low + (high - low) * u, self.like.dtype)


@final
class L2Ball(NormBall):
    """{‖δ‖₂ ≤ r} ∩ box: a bounded Euclidean length."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return norms(exact(grouped)) - exact(self.radius.flatten())

    def project(self, point: Tensor) -> Tensor:
        """z·min(1, r/‖z‖₂) without a box; with one, clip(ηz), η ≤ 1 solved for exactly."""
        return self._solve(point, l2.project)

    def support(self, direction: Tensor) -> Tensor:
        """r·g/‖g‖₂ without a box; with one, clip(ηg), η solved for exactly."""
        return self._solve(direction, l2.support)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Points drawn uniformly from the ball, projected on the box."""
        directions = self._split_groups(normal_like(self.like, generator))
        dimension = directions.shape[1]
        length = uniform_like(self._radii, generator) ** (1 / dimension) * self._radii
        point = l2.support(directions, None, length).reshape(self.like.shape)
        return round_toward_zero(self.project(point), self.like.dtype)


@final
class L1Ball(NormBall):
    """{‖δ‖₁ ≤ r} ∩ box: a bounded sum of magnitudes."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return grouped.abs().sum(1, dtype=exact(grouped[:0]).dtype) - exact(
            self.radius.flatten()
        )

    def project(self, point: Tensor) -> Tensor:
        """The nearest member: magnitudes lowered by a common threshold, which is solved for exactly."""
        return self._solve(point, l1.project)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest member: coordinates filled in the order of |g_j|; without a box only the largest one moves."""
        return self._solve(direction, l1.support)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """A long step is one of steepest ascent, which changes few coordinates; a short one follows the gradient.

        Steepest steps alone move to and fro between few coordinates, and gradient steps alone change too many at the
        start. The constants `SPARSE` and `FARTHER` are those that left fewest images of MNIST standing, of a standard
        and a robust net, at radii from 4 to 12. A step of 1 and more is not lengthened.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to r, one for all rows or one per row, (batch,).
        """
        if isinstance(step, Tensor):
            lengths = torch.where(step >= 1, step, FARTHER * step)
            is_long = per_row(step, direction) >= SPARSE
            steepest = super().ascent(direction, delta, lengths)
            return torch.where(
                is_long, steepest, self._follow_gradient(direction, step)
            )
        if step >= SPARSE:
            return super().ascent(
                direction, delta, step if step >= 1 else FARTHER * step
            )
        return self._follow_gradient(direction, step)

    def _follow_gradient(self, direction: Tensor, step: Tensor | float) -> Tensor:
        """A move along the direction of length `FARTHER` · step · ‖support(direction)‖₂."""
        unit = with_unit_maximum(direction)
        length = norms(unit)
        reach = norms(self.support(unit)) / torch.where(length > 0, length, 1)
        return FARTHER * step_per_row(step, unit) * per_row(reach, unit) * unit

    def sample(self, generator: torch.Generator) -> Tensor:
        """Points drawn uniformly from the ball, projected on the box."""
        groups = self._split_groups(self.like).to(self._radii)
        # d exponential numbers over the sum of d + 1 are uniform on the simplex Σ ≤ 1
        exponentials = -torch.log1p(-uniform_like(groups, generator))
        last_exponential = -torch.log1p(-uniform_like(self._radii, generator))
        magnitude = (
            self._radii
            * exponentials
            / (exponentials.sum(1, keepdim=True) + last_exponential)
        )
        point = magnitude.copysign(uniform_like(groups, generator) - 0.5)
        return round_toward_zero(
            self.project(point.reshape(self.like.shape)), self.like.dtype
        )
