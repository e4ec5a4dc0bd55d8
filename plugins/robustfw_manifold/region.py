"""The regions of the tangent set: a Euclidean ball in a subspace, another one for each row; and that within a box."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import (
    Bound,
    Region,
    inner_products,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    uniform_like,
    wide,
    with_unit_maximum,
)
from robustfw_manifold import interior

ROUNDING = 32
"""How many units of rounding, relative to ‖δ‖₂, a member may be off its subspace or its ball."""


@final
@attrs.frozen(eq=False)
class TangentBall(Region):
    """{δ ∈ Γ : ‖δ‖₂ ≤ r}, Γ spanned by the rows of an orthonormal basis B; with Π = BᵀB."""

    like: Tensor
    basis: Tensor
    """(batch, directions, dimension): orthonormal rows; a direction that is missing is a row of zeros."""
    radius: Tensor
    """(batch,)"""

    @classmethod
    def of(cls, x: Tensor, basis: Tensor, radius: float) -> TangentBall:
        """The ball at every row of x, for a basis of shape (batch, directions, *shape)."""
        flat = basis.detach().to(wide(x.dtype)).flatten(2)
        return cls(x, flat, torch.full((len(x),), radius, dtype=flat.dtype, device=x.device))

    def _coordinates(self, delta: Tensor) -> Tensor:
        """Bδ, (batch, directions)."""
        return torch.einsum("bkd,bd->bk", self.basis, delta.to(self.basis.dtype).flatten(1))

    def _point(self, coordinates: Tensor, like: Tensor) -> Tensor:
        """Bᵀc, of the shape and type of ``like``."""
        moved = torch.einsum("bkd,bk->bd", self.basis, coordinates).reshape(like.shape)
        return round_toward_zero(moved.to(torch.promote_types(moved.dtype, like.dtype)), like.dtype)

    def tangential(self, delta: Tensor) -> Tensor:
        """Πδ, the nearest point of the tangent space."""
        return self._point(self._coordinates(delta), delta)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖δ − Πδ‖₂ and ‖δ‖₂ − r; 0 where only rounding is left."""
        exact = delta.to(self.basis.dtype)
        size = norms(exact)
        off = norms(exact - self.tangential(exact))
        outside = torch.maximum(off, size - self.radius)
        rounding = ROUNDING * torch.finfo(delta.dtype).eps * size
        return torch.where(outside > rounding, outside, 0)

    def project(self, point: Tensor) -> Tensor:
        """Πz·min(1, r/‖Πz‖₂): exact, since the ball is centred in the subspace."""
        inside = self._coordinates(point)
        length = norms(inside).clamp(min=torch.finfo(inside.dtype).tiny)
        return self._point(inside * (self.radius / length).clamp(max=1)[:, None], point)

    def support(self, direction: Tensor) -> Tensor:
        """r·Πg/‖Πg‖₂ (eq. 13); 0 where g is normal to the tangent space, up to rounding."""
        towards = with_unit_maximum(direction.to(self.basis.dtype))
        along = self._coordinates(towards)
        length = torch.linalg.vector_norm(along, dim=1)
        seen = length > ROUNDING * torch.finfo(along.dtype).eps * norms(towards)
        stretch = torch.where(seen, self.radius / length.clamp(min=torch.finfo(along.dtype).tiny), 0)
        return self._point(along * stretch[:, None], direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """r·‖Πg‖₂, and r·‖g‖₂ times the rounding by which a member may be off the subspace."""
        rounding = ROUNDING * torch.finfo(torch.promote_types(self.like.dtype, self.basis.dtype)).eps
        towards = direction.double().flatten(1)
        along = torch.einsum("bkd,bd->bk", self.basis.double(), towards)
        return self.radius.double() * (1 + rounding) * (norms(along) + rounding * norms(towards))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball."""
        there = self.basis.abs().amax(2) > 0
        noise = normal_like(self.basis[..., 0], generator) * there
        length = torch.linalg.vector_norm(noise, dim=1).clamp(min=torch.finfo(noise.dtype).tiny)
        reach = self.radius * uniform_like(self.radius, generator) ** (1 / there.sum(1).clamp(min=1))
        return self._point(noise * (reach / length)[:, None], self.like)

    def scaled(self, factor: Tensor | float) -> TangentBall:
        """The ball of radius factor·r."""
        return attrs.evolve(self, radius=self.radius * per_row(factor, self.radius))

    def within(self, lower: Bound, upper: Bound) -> TangentInBox:
        """The members that keep the box."""
        low, high = (torch.as_tensor(b, dtype=torch.float64, device=self.like.device) for b in (lower, upper))
        return TangentInBox(self, low.expand_as(self.like), high.expand_as(self.like))


@final
@attrs.frozen(eq=False)
class TangentInBox(Region):
    """{δ ∈ Γ : ‖δ‖₂ ≤ r, lower ≤ δ ≤ upper}, with lower ≤ 0 ≤ upper.

    No formula gives its oracles. They are solved for in the coordinates of the subspace, to 1e-10 of the radius
    (see `robustfw_manifold.interior`), by which members may also leave the box; `gap` bounds what `support` missed.
    """

    ball: TangentBall
    lower: Tensor
    upper: Tensor

    @property
    def like(self) -> Tensor:
        return self.ball.like

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of the ball's violation and the way out of the box; 0 where only the accuracy is missing."""
        exact = delta.double()
        out = torch.maximum(self.lower - exact, exact - self.upper).flatten(1).amax(1)
        out = torch.where(out > self._slack(delta), out, 0)
        return torch.maximum(self.ball.violation(delta), out.to(self.ball.radius))

    def _slack(self, delta: Tensor) -> Tensor:
        rounding = torch.finfo(torch.promote_types(delta.dtype, self.ball.basis.dtype)).eps
        return (1.1 * interior.ACCURACY + rounding) * self._reach

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members are returned as they are."""
        outside = (self.violation(point) > 0).nonzero()[:, 0]
        if not len(outside):
            return point.clone()
        moved = point.clone()
        moved[outside] = self[outside]._projected(point[outside])
        return moved

    def _projected(self, point: Tensor) -> Tensor:
        drive = self._drive(point) / self._unit
        length = torch.linalg.vector_norm(drive, dim=1, keepdim=True).clamp(min=1)
        return self._moved(self._solved(drive / length, 1 / length).point, point)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point; 0 where the direction is normal to the tangent space."""
        solution = self._solved(*self._uphill(direction))
        steep = per_row(norms(self.ball.support(direction)), direction) > 0
        return torch.where(steep, self._moved(solution.point, direction), 0)

    def gap(self, direction: Tensor, found: Tensor) -> Tensor:
        """An upper bound of max_{δ ∈ 𝒰} ⟨direction, δ⟩ − ⟨direction, found⟩, (batch,).

        By weak duality: ⟨g, δ⟩ = ⟨g − q, δ⟩ + ⟨q, δ⟩ ≤ r‖Π(g − q)‖₂ + Σⱼ max(qⱼlⱼ, qⱼuⱼ), for any q; it is tight
        for the multipliers of the box.
        """
        exact = direction.double().flatten(1)
        along = self._drive(direction)
        length = torch.linalg.vector_norm(along, dim=1, keepdim=True)
        pull = length * self._solved(*self._uphill(direction)).pull
        low, high = self.lower.flatten(1), self.upper.flatten(1)
        pull = torch.where(torch.where(pull > 0, high, low).isfinite(), pull, 0)
        left = torch.linalg.vector_norm(along - self._coordinates(pull), dim=1)
        bound = self._reach * left + torch.where(pull > 0, pull * high, pull * low).nan_to_num(0).sum(1)
        return (bound - inner_products(exact, found.double())).clamp(min=0)

    def _coordinates(self, flat: Tensor) -> Tensor:
        return torch.einsum("bkd,bd->bk", self.ball.basis.double(), flat)

    def _drive(self, delta: Tensor) -> Tensor:
        return self._coordinates(delta.double().flatten(1))

    def _uphill(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        along = self._drive(direction)
        length = torch.linalg.vector_norm(along, dim=1, keepdim=True)
        return along / length.clamp(min=interior.TINY), torch.zeros_like(length)

    @property
    def _reach(self) -> Tensor:
        """The radius, or the farthest corner of the box if that is nearer, (batch,)."""
        corner = torch.maximum(-self.lower, self.upper).flatten(1)
        return torch.minimum(self.ball.radius.double(), torch.linalg.vector_norm(corner, dim=1))

    @property
    def _unit(self) -> Tensor:
        return self._reach.clamp(min=interior.TINY)[:, None]

    def _solved(self, drive: Tensor, weight: Tensor) -> interior.Solution:
        low, high = (bound.flatten(1) / self._unit for bound in (self.lower, self.upper))
        return interior.solve(self.ball.basis.double(), low, high, drive, weight)

    def _moved(self, coordinates: Tensor, like: Tensor) -> Tensor:
        moved = torch.einsum("bkd,bk->bd", self.ball.basis.double(), coordinates) * self._reach[:, None]
        return round_toward_zero(moved.reshape(like.shape), like.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The dual value (see `gap`), and what the slack of the bounds may add."""
        towards = direction.double()
        farthest = self.support(towards)
        slack = torch.sqrt(torch.tensor(towards[:1].numel() or 1)) * self._slack(towards) + 1e-12 * self._reach
        return inner_products(towards, farthest) + self.gap(towards, farthest) + norms(towards) * slack

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over s ∈ Γ, ‖s‖₂ ≤ step·r, δ + s in the box: spent only where there is room."""
        exact = delta.double()
        low, high = (self.lower - exact).clamp(max=0), (self.upper - exact).clamp(min=0)
        return TangentInBox(self.ball.scaled(step), low, high).support(direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball, then projected on the box."""
        return self.project(self.ball.sample(generator))

    def scaled(self, factor: Tensor | float) -> TangentInBox:
        """Ball and box."""
        by = per_row(factor, self.lower)
        low, high = (torch.where(by > 0, by * side, 0) for side in (self.lower, self.upper))
        return TangentInBox(self.ball.scaled(factor), low, high)

    def within(self, lower: Bound, upper: Bound) -> TangentInBox:
        """The smaller box."""
        other = self.ball.within(lower, upper)
        return TangentInBox(self.ball, torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))
