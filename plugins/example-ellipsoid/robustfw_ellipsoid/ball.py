"""The region of the ellipsoid: a weighted ℓ2 ball, with the data box as a part of itself."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import (
    Bound,
    Box,
    Region,
    per_row,
    round_toward_zero,
    step_per_row,
)

NEWTON = 30
"""Newton steps at most; one to ten are the rule."""
HALVINGS = 100
"""Bisection steps for the rows that Newton's did not settle."""


@final
@attrs.frozen(eq=False)
class WeightedBall(Region):
    """{δ : Σ_j w_j² δ_j² ≤ r²} ∩ box: the box is −∞ … ∞ until `clip` gives one.

    All is computed in float64 (where the device has it) and rounded toward zero, which keeps members members.
    """

    like: Tensor
    weight: Tensor
    """w > 0, of the shape of δ."""
    radius: Tensor
    """r ≥ 0, (batch, 1)."""
    box: Box

    @classmethod
    def at(cls, x: Tensor, weight: Tensor, radius: float) -> WeightedBall:
        """The ball of this radius at every row of x."""
        like = x.detach()
        weights = weight.detach().expand_as(like)
        radii = torch.full((len(x), 1), radius, dtype=_wide(x), device=x.device)
        everything = Box.broadcast(like, -torch.inf, torch.inf)
        return cls(like, weights, radii, everything)

    def clip(self, lower: Bound, upper: Bound) -> WeightedBall:
        """The members between two bounds: this ball and the smaller of both boxes, with exact oracles."""
        return attrs.evolve(self, box=self.box.clip(lower, upper))

    def scale(self, factor: Tensor | float) -> WeightedBall:
        """factor·𝒰: radius and box."""
        factors = per_row(factor, self.like)
        # ∞·0 is not a number
        low = torch.where(factors > 0, self.box.lower * factors, 0)
        high = torch.where(factors > 0, self.box.upper * factors, 0)
        radius = self.radius * factors.reshape(-1, 1)
        return attrs.evolve(self, radius=radius, box=Box(low, high))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over ‖w·s‖₂ ≤ step·r with δ + s in the box: nothing is spent where there is no room."""
        room = Box(self.box.lower - delta, self.box.upper - delta)
        radius = step_per_row(step, self.radius) * self.radius
        steps = attrs.evolve(self, radius=radius, box=room)
        return steps.support(direction)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖w·δ‖₂ − r and the way out of the box."""
        length = _norm(_rows(self.weight) * _rows(delta))
        excess = (length - self.radius)[:, 0]
        return torch.maximum(excess.clamp(min=0), self.box.violation(delta))

    def project(self, point: Tensor) -> Tensor:
        """clip(z / (1 + λw²)) with the least λ ≥ 0 for which it is inside."""
        nearest = self._solve(_rows(point), ridge=1.0)
        return nearest.reshape(point.shape)

    def support(self, direction: Tensor) -> Tensor:
        """clip(g / λw²) with the least λ ≥ 0 for which it is inside; without a box, r·(g/w²) / ‖g/w‖₂.

        Where g_j = 0, δ_j = 0.
        """
        rows = _rows(direction)
        largest = rows.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        farthest = self._solve(rows / scale, ridge=0.0)
        return farthest.reshape(direction.shape)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball, then projected on the box."""
        rows = _rows(self.like)
        count, dimension = rows.shape
        device = generator.device
        noise = torch.randn(rows.shape, generator=generator, device=device).to(rows)
        uniform = torch.rand(count, 1, generator=generator, device=device).to(rows)
        share = uniform ** (1 / dimension)
        length = _norm(noise) * _rows(self.weight)
        point = self.radius * share * noise / length
        nearest = self._solve(point, ridge=1.0)
        return nearest.reshape(self.like.shape)

    def _solve(self, pull: Tensor, ridge: float) -> Tensor:
        """argmax ⟨pull, δ⟩ − ridge/2·‖δ‖² over the set, (batch, d), in the type of δ."""
        above = _rows(self.box.upper)
        below = -_rows(self.box.lower)
        room = torch.where(pull > 0, above, below).clamp(min=0)
        weight = _rows(self.weight)
        magnitude = fill_budget(pull.abs(), weight, room, self.radius, ridge)
        return round_toward_zero(magnitude.copysign(pull), self.like.dtype)


def fill_budget(
    pull: Tensor, weight: Tensor, room: Tensor, radius: Tensor, ridge: float
) -> Tensor:
    """m(λ) = min(a / (c + λw²), u) with the least λ ≥ 0 for which ‖w·m(λ)‖₂ ≤ r, for a pull a and a room u, both ≥ 0.

    These are the magnitudes of argmax ⟨a, m⟩ − c/2·‖m‖² over the ellipsoid ∩ box, λ being the multiplier of
    ‖w·m‖² ≤ r²: the support for c = 0, the projection for c = 1. Everything is (rows, d), r is (rows, 1).

    λ is found by Newton steps on 1/‖w·m(λ)‖ − 1/r over the coordinates that are not full, which is nearly linear
    (for c = 0, linear) in λ (Moré & Sorensen 1983), inside a bracket that every step narrows; halvings where they fail.
    """
    squared = weight.square()

    def magnitudes_at(level: Tensor) -> Tensor:
        capped = torch.minimum(pull / (ridge + level * squared), room)
        return torch.where(pull > 0, capped, 0)

    # 1. a bracket of λ: 0 for members, up to the λ of the ball without a box
    low = torch.zeros_like(radius)
    fits = _norm(weight * magnitudes_at(low)) <= radius
    unboxed = _norm(pull / weight) / radius
    high = torch.where(fits, 0, unboxed)
    level = high
    target = radius.square()
    steepest = squared.amax(1, keepdim=True)
    smallest_change = 4 * torch.finfo(pull.dtype).eps
    for step in range(NEWTON + HALVINGS):
        # 2. the squared length at λ, of free and full coordinates, and the bracket that it narrows
        magnitude = magnitudes_at(level)
        squares = (weight * magnitude).square()
        free_squares = torch.where(magnitude < room, squares, 0)
        free = free_squares.sum(1, keepdim=True)
        full = (squares - free_squares).sum(1, keepdim=True)
        inside = free + full <= target
        low = torch.where(inside, low, level)
        high = torch.where(inside, level, high)
        # 3. Newton's step, or the middle of the bracket
        slopes = free_squares * squared / (ridge + level * squared)
        slope = slopes.sum(1, keepdim=True)
        stretch = (free / (target - full)).sqrt()
        newton = level + (stretch - 1) * free / slope
        usable = (low <= newton) & (newton <= high) & (step < NEWTON)
        better = torch.where(usable, newton, (low + high) / 2)
        # 4. the largest relative change of a coordinate; a row of radius 0 has λ = ∞ and no number here
        change = (better - level).abs() / (ridge / steepest + level)
        level = better
        if not (change > smallest_change).any():
            break
    return magnitudes_at(level)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor as (batch, d), in the type that is computed in."""
    return tensor.flatten(1).to(_wide(tensor))


def _norm(rows: Tensor) -> Tensor:
    """‖v‖₂ of each row, (batch, 1)."""
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _wide(like: Tensor) -> torch.dtype:
    """float64, where the device has it."""
    return torch.float32 if like.device.type == "mps" else torch.float64
