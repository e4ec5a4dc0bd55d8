"""The regions of the convex norm balls: {‖δ‖ ≤ r}, each with the data box as a part of itself."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from robustfw.regions import (
    exact,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    step_per_row,
    uniform_like,
    with_unit_maximum,
)
from robustfw_norms import l1, l2
from robustfw_norms.norm_ball import NormBall

SPARSE = 0.7
"""Smallest length of a step on an ℓ1 ball, relative to the ball, that is a sparse step of steepest ascent."""

FARTHER = 3.0
"""Factor by which shorter steps on an ℓ1 ball are lengthened: the projection lowers all coordinates afterwards."""


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
        share = uniform_like(self._radii, generator) ** (1 / dimension)
        length = share * self._radii
        groups = l2.support(directions, None, length)
        point = groups.reshape(self.like.shape)
        return round_toward_zero(self.project(point), self.like.dtype)


@final
class L1Ball(NormBall):
    """{‖δ‖₁ ≤ r} ∩ box: a bounded sum of magnitudes."""

    def _excess(self, grouped: Tensor) -> Tensor:
        radii = exact(self.radius.flatten())
        lengths = grouped.abs().sum(1, dtype=radii.dtype)
        return lengths - radii

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
            along_gradient = self._follow_gradient(direction, step)
            return torch.where(is_long, steepest, along_gradient)
        if step >= SPARSE:
            length = step if step >= 1 else FARTHER * step
            return super().ascent(direction, delta, length)
        return self._follow_gradient(direction, step)

    def _follow_gradient(self, direction: Tensor, step: Tensor | float) -> Tensor:
        """A move along the direction of length `FARTHER` · step · ‖support(direction)‖₂."""
        unit = with_unit_maximum(direction)
        length = norms(unit)
        safe_length = torch.where(length > 0, length, 1)
        reach = norms(self.support(unit)) / safe_length
        steps = step_per_row(step, unit)
        return FARTHER * steps * per_row(reach, unit) * unit

    def sample(self, generator: torch.Generator) -> Tensor:
        """Points drawn uniformly from the ball, projected on the box."""
        groups = self._split_groups(self.like).to(self._radii)
        # d exponential numbers over the sum of d + 1 are uniform on the simplex Σ ≤ 1
        exponentials = -torch.log1p(-uniform_like(groups, generator))
        last_exponential = -torch.log1p(-uniform_like(self._radii, generator))
        total = exponentials.sum(1, keepdim=True) + last_exponential
        magnitude = self._radii * exponentials / total
        signs = uniform_like(groups, generator) - 0.5
        point = magnitude.copysign(signs).reshape(self.like.shape)
        return round_toward_zero(self.project(point), self.like.dtype)
