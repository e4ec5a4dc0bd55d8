"""The ℓp ball for any p ≥ 1, with the data range as a part of itself."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import exact, normal_like, uniform_like
from robustfw_sets.boxed import BoxedRegion, infinite_sides
from robustfw_sets.lp_oracles import TINY, project, support


@final
@attrs.frozen(eq=False)
class LpBall(BoxedRegion):
    """{‖δ‖_p ≤ r} ∩ box."""

    p: float
    """The order p ≥ 1 of the norm."""

    @classmethod
    def at(cls, x: Tensor, p: float, radius: float) -> LpBall:
        """The ball at every row of x, without a box.

        Args:
            x: examples (batch, *shape).
            p: the order of the norm, ≥ 1.
            radius: r.
        """
        like = x.detach()
        lower, upper = infinite_sides(like)
        radii = lower.new_full((len(x), 1), radius)
        return cls(like, radii, lower, upper, p)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖δ‖_p − r, without rounding, and the distance from the box; (batch,)."""
        point = self._rows(delta)
        magnitudes = point.abs()
        largest = magnitudes.amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        powers = (magnitudes / scale).pow(self.p)
        total = powers.sum(1, keepdim=True)
        length = scale * total.pow(1 / self.p)
        excess = (length - self.radius)[:, 0]
        eps = torch.finfo(point.dtype).eps
        rounding = 16 * eps * self.radius[:, 0]
        excess = torch.where(excess > rounding, excess, 0)
        outside = self._box_violation(point)
        violation = torch.maximum(excess, outside)
        return violation.to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """argmin ‖δ − z‖₂: magnitudes m with m + λ·p·mᵖ⁻¹ = |z|, cut off at the box, with the λ ≥ 0 that fits."""
        rows = self._rows(point)
        room = self._room(rows)
        magnitudes = project(rows.abs(), room, self.radius, self.p)
        return self._member(magnitudes, rows, point)

    def support(self, direction: Tensor) -> Tensor:
        """argmax ⟨g, δ⟩: magnitudes min(η·|g|^(1/(p − 1)), room) with the η that fits (Hölder's equality)."""
        rows = self._direction_rows(direction)
        room = self._room(rows)
        magnitudes = support(rows.abs(), room, self.radius, self.p)
        return self._member(magnitudes, rows, direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Points of random direction and length in the ball, projected on the box."""
        # 1. noise of random direction, of a length that is uniform in volume
        noise = exact(normal_like(self.like, generator))
        noise = noise.flatten(1)
        powers = noise.abs().pow(self.p)
        total = powers.sum(1, keepdim=True)
        length = total.pow(1 / self.p)
        dimension = noise.shape[1]
        share = uniform_like(self.radius, generator) ** (1 / dimension)
        rows = self.radius * share * noise / length.clamp(min=TINY)
        # 2. the nearest point of the box
        room = self._room(rows)
        magnitudes = project(rows.abs(), room, self.radius, self.p)
        return self._member(magnitudes, rows, self.like)
