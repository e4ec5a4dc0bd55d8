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
        point = torch.einsum("bnk,bk->bn", self.basis, coordinates)
        return round_toward_zero(point, self.like.dtype)

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the border along the ray to 0, or to the span of the axes if that is larger, (batch,)."""
        coordinates = self._coordinates(delta)
        free = self.lengths > 0
        # 1. along the ray: ‖δ‖ − ‖δ‖/size
        safe_lengths = torch.where(free, self.lengths, 1)
        shares = torch.where(free, coordinates / safe_lengths, 0)
        size = norms(shares)
        excess = 1 - 1 / size.clamp(min=1)
        along = norms(torch.where(free, coordinates, 0)) * excess
        # 2. off the span of the axes, but for rounding
        across = norms(torch.where(free, 0, coordinates))
        eps = torch.finfo(self.like.dtype).eps
        rounding = 64 * eps * norms(coordinates)
        across = torch.where(across > rounding, across, 0)
        return torch.maximum(along, across).to(delta.dtype)

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
            divisor = torch.where(free, squares + level, 1)
            share = torch.where(free, pull / divisor, 0)
            size = norms(share)[:, None]
            slopes = torch.where(free, share.square() / divisor, 0)
            slope = slopes.sum(1, keepdim=True)
            newton = (size - 1) * size.square() / slope.clamp(min=numbers.tiny)
            step = torch.where(size > 1, newton, 0)
            level = level + step
            unfinished = step > 4 * numbers.eps * level
            if not unfinished.any():
                break
        # 2. the point that belongs to λ, with what rounding left outside taken off
        divisor = torch.where(free, squares + level, 1)
        share = torch.where(free, pull / divisor, 0)
        share = share / norms(share)[:, None].clamp(min=1)
        projected = self._point(self.lengths * share)
        # 3. members stay
        inside = per_row(self.violation(point), point) <= 0
        return torch.where(inside, point, projected)

    def support(self, direction: Tensor) -> Tensor:
        """W S² Wᵀg / ‖S Wᵀg‖₂; 0 where that vanishes."""
        largest = direction.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        pull = self.lengths * self._coordinates(direction / scale)
        size = norms(pull)[:, None]
        safe_size = torch.where(size > 0, size, 1)
        return self._point(self.lengths * pull / safe_size)

    def support_bound(self, direction: Tensor) -> Tensor:
        """‖S Wᵀg‖₂ with room for rounding, (batch,)."""
        exact = direction.to(self.basis)
        value = norms(self.lengths * self._coordinates(exact))
        eps = torch.finfo(self.basis.dtype).eps
        rounding = 64 * eps * norms(exact) * self.lengths.amax(1)
        return value + rounding

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members, uniform on the ellipsoid."""
        noise = normal_like(self.like, generator).to(self.basis)
        dimension = noise.shape[1]
        uniform = uniform_like(self.like[:, :1], generator).to(self.basis)
        share = uniform ** (1 / dimension)
        length = norms(noise)[:, None]
        return self._point(self.lengths * share * noise / length)


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
        uncertain = self.deviation > 0
        safe_deviation = torch.where(uncertain, self.deviation, 1)
        return torch.where(uncertain, magnitude / safe_deviation, 0)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of |δ_j| − d_j and, in units of the largest deviation, the sum of shares above Γ, (batch,)."""
        magnitude = delta.abs().to(self.deviation)
        box_excess = (magnitude - self.deviation).amax(1)
        share_excess = self._share(magnitude).sum(1) - self.gamma[:, 0]
        budget_excess = share_excess * self.deviation.amax(1)
        excess = torch.maximum(box_excess, budget_excess).clamp(min=0)
        return excess.to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members stay as they are.

        Its shares of d_j are clip(|z_j|/d_j − λ/d_j², 0, 1) with the least λ ≥ 0 for which their sum is at most Γ.
        """
        full = self._share(point.abs().to(self.deviation))
        safe_squares = self.deviation.clamp(min=1e-150).square()
        rate = torch.where(self.deviation > 0, safe_squares.reciprocal(), 0)

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
        total = torch.where(free, full, share).sum(1, keepdim=True)
        excess = total - self.gamma
        safe_slope = torch.where(slope > 0, slope, 1)
        level = torch.where(slope > 0, excess / safe_slope, high)
        share = shares(torch.where(fits, 0, level.clamp(min=0)))
        # 3. take off what rounding left above Γ
        tiny = torch.finfo(share.dtype).tiny
        total = share.sum(1, keepdim=True).clamp(min=tiny)
        share = share * (self.gamma / total).clamp(max=1)
        signed = (self.deviation * share).copysign(point.to(share))
        projected = round_toward_zero(signed, self.like.dtype)
        # 4. members stay
        is_member = per_row(self.violation(point), point) <= 0
        return torch.where(is_member, point, projected)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point: the coefficients of largest |g_j|·d_j deviate, ⌊Γ⌋ fully and the next by what is left of Γ.

        Of equal coefficients the first deviates.
        """
        gains = direction.abs().to(self.deviation) * self.deviation
        largest, order = gains.sort(dim=1, descending=True, stable=True)
        # what is left of Γ at each place, at most 1
        places = torch.arange(gains.shape[1], dtype=gains.dtype, device=gains.device)
        budget = (self.gamma - places).clamp(0, 1)
        sorted_shares = torch.where(largest > 0, budget, 0)
        shares = torch.zeros_like(gains).scatter(1, order, sorted_shares)
        magnitude = self.deviation * shares
        farthest = magnitude.copysign(direction.to(magnitude))
        return round_toward_zero(farthest, self.like.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The value of `support`, which is exact, with room for rounding, (batch,)."""
        precise = attrs.evolve(self, like=self.like.to(self.deviation))
        exact = direction.to(self.deviation)
        return exact_bound(exact, precise.support(exact))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members: uniform on the box, then projected."""
        uniform = uniform_like(self.like, generator).to(self.deviation)
        noise = 2 * uniform - 1
        point = round_toward_zero(noise * self.deviation, self.like.dtype)
        return self.project(point)
