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
        radii = torch.full((len(x), 1), radius, dtype=_wide(x), device=x.device)
        return cls(
            like,
            weight.detach().expand_as(like),
            radii,
            Box.broadcast(like, -torch.inf, torch.inf),
        )

    def clip(self, lower: Bound, upper: Bound) -> WeightedBall:
        """The same ball and a smaller box; exact, like everything here."""
        return attrs.evolve(self, box=self.box.clip(lower, upper))

    def scale(self, factor: Tensor | float) -> WeightedBall:
        """factor·𝒰: radius and box."""
        by = per_row(factor, self.like)
        low, high = (
            torch.where(by > 0, b * by, 0) for b in (self.box.lower, self.box.upper)
        )
        return attrs.evolve(
            self, radius=self.radius * by.reshape(-1, 1), box=Box(low, high)
        )

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over ‖w·s‖₂ ≤ step·r with δ + s in the box: nothing is spent where there is no room."""
        room = Box(self.box.lower - delta, self.box.upper - delta)
        return attrs.evolve(
            self, radius=step_per_row(step, self.radius) * self.radius, box=room
        ).support(direction)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖w·δ‖₂ − r and the way out of the box."""
        outside = _norm(_rows(self.weight) * _rows(delta)) - self.radius
        return torch.maximum(outside[:, 0].clamp(min=0), self.box.violation(delta))

    def project(self, point: Tensor) -> Tensor:
        """clip(z / (1 + λw²)) with the least λ ≥ 0 for which it is inside."""
        return self._solve(_rows(point), ridge=1.0).reshape(point.shape)

    def support(self, direction: Tensor) -> Tensor:
        """clip(g / λw²) with the least λ ≥ 0 for which it is inside; without a box, r·(g/w²) / ‖g/w‖₂.

        Where g_j = 0, δ_j = 0.
        """
        rows = _rows(direction)
        largest = rows.abs().amax(1, keepdim=True)
        return self._solve(
            rows / torch.where(largest > 0, largest, 1), ridge=0.0
        ).reshape(direction.shape)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball, then projected on the box."""
        rows = _rows(self.like)
        noise = torch.randn(
            rows.shape, generator=generator, device=generator.device
        ).to(rows)
        share = torch.rand(
            len(rows), 1, generator=generator, device=generator.device
        ).to(rows) ** (1 / rows.shape[1])
        point = self.radius * share * noise / (_norm(noise) * _rows(self.weight))
        return self._solve(point, ridge=1.0).reshape(self.like.shape)

    def _solve(self, pull: Tensor, ridge: float) -> Tensor:
        room = torch.where(
            pull > 0, _rows(self.box.upper), -_rows(self.box.lower)
        ).clamp(min=0)
        moved = fill_budget(pull.abs(), _rows(self.weight), room, self.radius, ridge)
        return round_toward_zero(moved.copysign(pull), self.like.dtype)


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

    def move_at(level: Tensor) -> Tensor:
        return torch.where(
            pull > 0, torch.minimum(pull / (ridge + level * squared), room), 0
        )

    steepest = squared.amax(1, keepdim=True)
    fits = _norm(weight * move_at(torch.zeros_like(radius))) <= radius
    low, high = (
        torch.zeros_like(radius),
        torch.where(fits, 0, _norm(pull / weight) / radius),
    )
    level = high
    for step in range(NEWTON + HALVINGS):
        m = move_at(level)
        squares = (weight * m).square()
        free = torch.where(m < room, squares, 0)
        total, full = free.sum(1, keepdim=True), (squares - free).sum(1, keepdim=True)
        inside = total + full <= radius.square()
        low, high = torch.where(inside, low, level), torch.where(inside, level, high)
        slope = (free * squared / (ridge + level * squared)).sum(1, keepdim=True)
        newton = level + ((total / (radius.square() - full)).sqrt() - 1) * total / slope
        usable = (low <= newton) & (newton <= high) & (step < NEWTON)
        better = torch.where(usable, newton, (low + high) / 2)
        # The largest relative change of a coordinate; a row of radius 0 has λ = ∞ and no number here.
        change = (better - level).abs() / (ridge / steepest + level)
        level = better
        if not (change > 4 * torch.finfo(pull.dtype).eps).any():
            break
    return move_at(level)


def _rows(tensor: Tensor) -> Tensor:
    """(batch, d), wide."""
    return tensor.flatten(1).to(_wide(tensor))


def _norm(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _wide(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64
