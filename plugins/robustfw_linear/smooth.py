"""Regions with formulas: the ellipsoid, and the budget of Bertsimas and Sim. Exact, without a loop over rows."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import Region, exact_bound, normal_like, norms, per_row, round_toward_zero, uniform_like

NEWTON = 60
"""Newton steps at most; they converge quadratically from below, and take five to fifteen."""
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

    def _inward(self, delta: Tensor) -> Tensor:
        """Wᵀδ."""
        return torch.einsum("bnk,bn->bk", self.basis, delta.to(self.basis))

    def _outward(self, coordinates: Tensor) -> Tensor:
        return round_toward_zero(torch.einsum("bnk,bk->bn", self.basis, coordinates), self.like.dtype)

    def violation(self, delta: Tensor) -> Tensor:
        """The way back to the border along the ray to 0, or out of the directions that do not move."""
        inner = self._inward(delta)
        free = self.lengths > 0
        size = norms(torch.where(free, inner / torch.where(free, self.lengths, 1), 0))
        along = norms(torch.where(free, inner, 0)) * (1 - 1 / size.clamp(min=1))
        rounding = 64 * torch.finfo(self.like.dtype).eps * norms(inner)
        across = norms(torch.where(free, 0, inner))
        return torch.maximum(along, torch.where(across > rounding, across, 0)).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """s²y/(s² + λ) in the basis, with the λ ≥ 0 that ‖s·y/(s² + λ)‖ = 1 determines; members stay as they are.

        1/‖·‖ is concave and increasing in λ, so that Newton's method climbs from 0 to the root without passing it.
        """
        inner = self._inward(point)
        pull, squares = self.lengths * inner, self.lengths.square()
        free = squares > 0
        level = torch.zeros_like(inner[:, :1])
        for _ in range(NEWTON):
            share = torch.where(free, pull / torch.where(free, squares + level, 1), 0)
            size = norms(share)[:, None]
            slope = torch.where(free, share.square() / torch.where(free, squares + level, 1), 0).sum(1, keepdim=True)
            step = torch.where(size > 1, (size - 1) * size.square() / slope.clamp(min=torch.finfo(slope.dtype).tiny), 0)
            level = level + step
            if not (step > 4 * torch.finfo(level.dtype).eps * level).any():
                break
        share = torch.where(free, pull / torch.where(free, squares + level, 1), 0)
        share = share / norms(share)[:, None].clamp(min=1)
        inside = per_row(self.violation(point), point) <= 0
        return torch.where(inside, point, self._outward(self.lengths * share))

    def support(self, direction: Tensor) -> Tensor:
        """W S² Wᵀg / ‖S Wᵀg‖₂; 0 where that vanishes."""
        largest = direction.abs().amax(1, keepdim=True)
        pull = self.lengths * self._inward(direction / torch.where(largest > 0, largest, 1))
        size = norms(pull)[:, None]
        return self._outward(self.lengths * pull / torch.where(size > 0, size, 1))

    def support_bound(self, direction: Tensor) -> Tensor:
        """‖S Wᵀg‖₂, with room for rounding."""
        towards = direction.to(self.basis)
        rounding = 64 * torch.finfo(self.basis.dtype).eps * norms(towards) * self.lengths.amax(1)
        return norms(self.lengths * self._inward(towards)) + rounding

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform."""
        noise = normal_like(self.like, generator).to(self.basis)
        share = uniform_like(self.like[:, :1], generator).to(self.basis) ** (1 / noise.shape[1])
        return self._outward(self.lengths * share * noise / norms(noise)[:, None])


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
        return torch.where(self.deviation > 0, magnitude / torch.where(self.deviation > 0, self.deviation, 1), 0)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of |δ_j| − d_j and, in units of the largest deviation, the shares above Γ."""
        magnitude = delta.abs().to(self.deviation)
        beyond = (magnitude - self.deviation).amax(1)
        spent = (self._share(magnitude).sum(1) - self.gamma[:, 0]) * self.deviation.amax(1)
        return torch.maximum(beyond, spent).clamp(min=0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """Shares clip(|z_j|/d_j − λ/d_j², 0, 1) with the least λ ≥ 0 for which they fit into Γ."""
        full = self._share(point.abs().to(self.deviation))
        rate = torch.where(self.deviation > 0, self.deviation.clamp(min=1e-150).square().reciprocal(), 0)

        def shares(level: Tensor) -> Tensor:
            return (full - level * rate).clamp(0, 1)

        low = torch.zeros_like(self.gamma)
        high = (full * self.deviation.square()).amax(1, keepdim=True)
        fits = shares(low).sum(1, keepdim=True) <= self.gamma
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            inside = shares(middle).sum(1, keepdim=True) <= self.gamma
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        kept = shares((low + high) / 2)
        free = (kept > 0) & (kept < 1)
        slope = torch.where(free, rate, 0).sum(1, keepdim=True)
        rest = torch.where(free, full, kept).sum(1, keepdim=True) - self.gamma
        level = torch.where(slope > 0, rest / torch.where(slope > 0, slope, 1), high)
        kept = shares(torch.where(fits, 0, level.clamp(min=0)))
        kept = kept * (self.gamma / kept.sum(1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)).clamp(max=1)
        moved = round_toward_zero((self.deviation * kept).copysign(point.to(kept)), self.like.dtype)
        return torch.where(per_row(self.violation(point), point) <= 0, point, moved)

    def support(self, direction: Tensor) -> Tensor:
        """The coefficients of largest |g_j|·d_j deviate, ⌊Γ⌋ fully and the next by the rest; ties to the lower."""
        gains = direction.abs().to(self.deviation) * self.deviation
        best, order = gains.sort(dim=1, descending=True, stable=True)
        places = torch.arange(gains.shape[1], dtype=gains.dtype, device=gains.device)
        shares = torch.where(best > 0, (self.gamma - places).clamp(0, 1), 0)
        magnitude = self.deviation * torch.zeros_like(gains).scatter(1, order, shares)
        return round_toward_zero(magnitude.copysign(direction.to(magnitude)), self.like.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The value of `support`, which is exact."""
        precise = attrs.evolve(self, like=self.like.to(self.deviation))
        towards = direction.to(self.deviation)
        return exact_bound(towards, precise.support(towards))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the box, projected."""
        noise = 2 * uniform_like(self.like, generator).to(self.deviation) - 1
        return self.project(round_toward_zero(noise * self.deviation, self.like.dtype))
