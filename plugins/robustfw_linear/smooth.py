"""Regions with formulas: the ellipsoid, and the budget of Bertsimas and Sim. Exact, without a loop over rows."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import (
    Region,
    exact_bound,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    uniform_like,
)

NEWTON = 60
"""Most Newton steps of a projection; they converge quadratically from below, and five to fifteen are usual."""
HALVINGS = 70
"""Bisection steps to the right piece of a piecewise linear equation, which is then solved exactly."""


@final
@attrs.frozen(eq=False)
class EllipsoidRegion(Region):
    """{W S u : ‖u‖₂ ≤ 1}: semi-axes of length s_j ≥ 0 along the columns of an orthogonal W; δ is (batch, n)."""

    like: Tensor
    basis: Tensor
    """W, (batch, n, n)."""
    lengths: Tensor
    """s, (batch, n); directions with s_j = 0 do not move."""

    def _coordinates(self, delta: Tensor) -> Tensor:
        """Wᵀδ, the coordinates along the axes, (batch, n)."""
        return torch.einsum("bnk,bn->bk", self.basis, delta.to(self.basis))

    def _point(self, coordinates: Tensor) -> Tensor:
        """The point of these coordinates along the axes, of the type of δ."""
        return round_toward_zero(
            torch.einsum("bnk,bk->bn", self.basis, coordinates), self.like.dtype
        )

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the border along the ray to 0, or to the span of the axes if that is larger, (batch,)."""
        coordinates = self._coordinates(delta)
        free = self.lengths > 0
        size = norms(
            torch.where(free, coordinates / torch.where(free, self.lengths, 1), 0)
        )
        along = norms(torch.where(free, coordinates, 0)) * (1 - 1 / size.clamp(min=1))
        rounding = 64 * torch.finfo(self.like.dtype).eps * norms(coordinates)
        across = norms(torch.where(free, 0, coordinates))
        return torch.maximum(along, torch.where(across > rounding, across, 0)).to(
            delta.dtype
        )

    def project(self, point: Tensor) -> Tensor:
        """s²y/(s² + λ) in the basis, with the λ ≥ 0 that ‖s·y/(s² + λ)‖ = 1 determines; members stay as they are.

        1/‖·‖ is concave and increasing in λ, so that Newton's method climbs from 0 to the root without passing it.
        """
        coordinates = self._coordinates(point)
        pull = self.lengths * coordinates
        squares = self.lengths.square()
        free = squares > 0
        numbers = torch.finfo(squares.dtype)
        # 1. Newton's method for λ
        level = torch.zeros_like(coordinates[:, :1])
        for _ in range(NEWTON):
            share = torch.where(free, pull / torch.where(free, squares + level, 1), 0)
            size = norms(share)[:, None]
            slope = torch.where(
                free, share.square() / torch.where(free, squares + level, 1), 0
            ).sum(1, keepdim=True)
            step = torch.where(
                size > 1, (size - 1) * size.square() / slope.clamp(min=numbers.tiny), 0
            )
            level = level + step
            if not (step > 4 * numbers.eps * level).any():
                break
        # 2. the point that belongs to λ, with what rounding left outside taken off
        share = torch.where(free, pull / torch.where(free, squares + level, 1), 0)
        share = share / norms(share)[:, None].clamp(min=1)
        inside = per_row(self.violation(point), point) <= 0
        return torch.where(inside, point, self._point(self.lengths * share))

    def support(self, direction: Tensor) -> Tensor:
        """W S² Wᵀg / ‖S Wᵀg‖₂; 0 where that vanishes."""
        largest = direction.abs().amax(1, keepdim=True)
        pull = self.lengths * self._coordinates(
            direction / torch.where(largest > 0, largest, 1)
        )
        size = norms(pull)[:, None]
        return self._point(self.lengths * pull / torch.where(size > 0, size, 1))

    def support_bound(self, direction: Tensor) -> Tensor:
        """‖S Wᵀg‖₂ with room for rounding, (batch,)."""
        exact = direction.to(self.basis)
        rounding = (
            64 * torch.finfo(self.basis.dtype).eps * norms(exact) * self.lengths.amax(1)
        )
        return norms(self.lengths * self._coordinates(exact)) + rounding

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members, uniform on the ellipsoid."""
        noise = normal_like(self.like, generator).to(self.basis)
        share = uniform_like(self.like[:, :1], generator).to(self.basis) ** (
            1 / noise.shape[1]
        )
        return self._point(self.lengths * share * noise / norms(noise)[:, None])


@final
@attrs.frozen(eq=False)
class BudgetRegion(Region):
    """{δ : |δ_j| ≤ d_j, Σ_j |δ_j|/d_j ≤ Γ}: at most Γ coefficients deviate fully (Bertsimas & Sim 2004)."""

    like: Tensor
    deviation: Tensor
    """d ≥ 0, (batch, n); coefficients with d_j = 0 are certain."""
    gamma: Tensor
    """Γ ≥ 0, (batch, 1)."""

    def _share(self, magnitude: Tensor) -> Tensor:
        """|δ_j|/d_j, 0 for certain coefficients."""
        return torch.where(
            self.deviation > 0,
            magnitude / torch.where(self.deviation > 0, self.deviation, 1),
            0,
        )

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of |δ_j| − d_j and, in units of the largest deviation, the sum of shares above Γ, (batch,)."""
        magnitude = delta.abs().to(self.deviation)
        box_excess = (magnitude - self.deviation).amax(1)
        budget_excess = (
            self._share(magnitude).sum(1) - self.gamma[:, 0]
        ) * self.deviation.amax(1)
        return torch.maximum(box_excess, budget_excess).clamp(min=0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members stay as they are.

        Its shares of d_j are clip(|z_j|/d_j − λ/d_j², 0, 1) with the least λ ≥ 0 for which their sum is at most Γ.
        """
        full = self._share(point.abs().to(self.deviation))
        rate = torch.where(
            self.deviation > 0,
            self.deviation.clamp(min=1e-150).square().reciprocal(),
            0,
        )

        def shares(level: Tensor) -> Tensor:
            return (full - level * rate).clamp(0, 1)

        # 1. bisect λ to the piece on which the sum of shares is linear
        low = torch.zeros_like(self.gamma)
        high = (full * self.deviation.square()).amax(1, keepdim=True)
        fits = shares(low).sum(1, keepdim=True) <= self.gamma
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            inside = shares(middle).sum(1, keepdim=True) <= self.gamma
            low = torch.where(inside, low, middle)
            high = torch.where(inside, middle, high)
        # 2. solve the linear equation there
        share = shares((low + high) / 2)
        free = (share > 0) & (share < 1)
        slope = torch.where(free, rate, 0).sum(1, keepdim=True)
        excess = torch.where(free, full, share).sum(1, keepdim=True) - self.gamma
        level = torch.where(slope > 0, excess / torch.where(slope > 0, slope, 1), high)
        share = shares(torch.where(fits, 0, level.clamp(min=0)))
        # 3. take off what rounding left above Γ
        total = share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        share = share * (self.gamma / total).clamp(max=1)
        projected = round_toward_zero(
            (self.deviation * share).copysign(point.to(share)), self.like.dtype
        )
        return torch.where(per_row(self.violation(point), point) <= 0, point, projected)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point: the coefficients of largest |g_j|·d_j deviate, ⌊Γ⌋ fully and the next by what is left of Γ.

        Of equal coefficients the first deviates.
        """
        gains = direction.abs().to(self.deviation) * self.deviation
        largest, order = gains.sort(dim=1, descending=True, stable=True)
        places = torch.arange(gains.shape[1], dtype=gains.dtype, device=gains.device)
        shares = torch.where(largest > 0, (self.gamma - places).clamp(0, 1), 0)
        magnitude = self.deviation * torch.zeros_like(gains).scatter(1, order, shares)
        return round_toward_zero(
            magnitude.copysign(direction.to(magnitude)), self.like.dtype
        )

    def support_bound(self, direction: Tensor) -> Tensor:
        """The value of `support`, which is exact, with room for rounding, (batch,)."""
        precise = attrs.evolve(self, like=self.like.to(self.deviation))
        exact = direction.to(self.deviation)
        return exact_bound(exact, precise.support(exact))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members: uniform on the box, then projected."""
        noise = 2 * uniform_like(self.like, generator).to(self.deviation) - 1
        return self.project(round_toward_zero(noise * self.deviation, self.like.dtype))
