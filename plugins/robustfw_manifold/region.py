"""The regions of the tangent set: a Euclidean ball in a subspace of each row's own, alone and within a box."""

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
    def build(cls, x: Tensor, basis: Tensor, radius: float) -> TangentBall:
        """The ball at each row of x.

        Args:
            x: examples, (batch, *shape).
            basis: orthonormal rows, (batch, directions, *shape); zeros for directions that are missing.
            radius: r, for all rows.
        """
        flat = basis.detach().to(wide(x.dtype)).flatten(2)
        radii = torch.full((len(x),), radius, dtype=flat.dtype, device=x.device)
        return cls(x, flat, radii)

    def _coordinates(self, delta: Tensor) -> Tensor:
        """Bδ, (batch, directions)."""
        flat = delta.to(self.basis.dtype).flatten(1)
        return torch.einsum("bkd,bd->bk", self.basis, flat)

    def _point(self, coordinates: Tensor, like: Tensor) -> Tensor:
        """Bᵀc, of the shape and type of ``like``."""
        rows = torch.einsum("bkd,bk->bd", self.basis, coordinates)
        point = rows.reshape(like.shape)
        wider = torch.promote_types(point.dtype, like.dtype)
        return round_toward_zero(point.to(wider), like.dtype)

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
        coordinates = self._coordinates(point)
        tiny = torch.finfo(coordinates.dtype).tiny
        length = norms(coordinates).clamp(min=tiny)
        share = (self.radius / length).clamp(max=1)
        return self._point(coordinates * share[:, None], point)

    def support(self, direction: Tensor) -> Tensor:
        """r·Πg/‖Πg‖₂ (eq. 13); 0 where g is normal to the tangent space, up to rounding."""
        unit = with_unit_maximum(direction.to(self.basis.dtype))
        coordinates = self._coordinates(unit)
        length = torch.linalg.vector_norm(coordinates, dim=1)
        numbers = torch.finfo(coordinates.dtype)
        rounding = ROUNDING * numbers.eps * norms(unit)
        tangential = length > rounding
        stretch = self.radius / length.clamp(min=numbers.tiny)
        stretch = torch.where(tangential, stretch, 0)
        return self._point(coordinates * stretch[:, None], direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """r·‖Πg‖₂, plus r·‖g‖₂ times the rounding by which a member may be off the subspace."""
        wider = torch.promote_types(self.like.dtype, self.basis.dtype)
        rounding = ROUNDING * torch.finfo(wider).eps
        flat = direction.double().flatten(1)
        coordinates = torch.einsum("bkd,bd->bk", self.basis.double(), flat)
        length = norms(coordinates) + rounding * norms(flat)
        return self.radius.double() * (1 + rounding) * length

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members, uniform on the ball."""
        present = self.basis.abs().amax(2) > 0  # directions that are not missing
        noise = normal_like(self.basis[..., 0], generator) * present
        tiny = torch.finfo(noise.dtype).tiny
        length = torch.linalg.vector_norm(noise, dim=1).clamp(min=tiny)
        dimension = present.sum(1).clamp(min=1)
        share = uniform_like(self.radius, generator) ** (1 / dimension)
        stretch = self.radius * share / length
        return self._point(noise * stretch[:, None], self.like)

    def scale(self, factor: Tensor | float) -> TangentBall:
        """The ball of radius factor·r."""
        return attrs.evolve(self, radius=self.radius * per_row(factor, self.radius))

    def clip(self, lower: Bound, upper: Bound) -> TangentInBox:
        """The members between two bounds, lower ≤ δ ≤ upper."""
        device = self.like.device
        low = torch.as_tensor(lower, dtype=torch.float64, device=device)
        high = torch.as_tensor(upper, dtype=torch.float64, device=device)
        return TangentInBox(self, low.expand_as(self.like), high.expand_as(self.like))


@final
@attrs.frozen(eq=False)
class TangentInBox(Region):
    """{δ ∈ Γ : ‖δ‖₂ ≤ r, lower ≤ δ ≤ upper}, with lower ≤ 0 ≤ upper.

    No formula gives its oracles. They are solved for in the coordinates of the subspace, to 1e-10 of the radius
    (see `robustfw_manifold.interior`), and members may leave the box by that; `gap` bounds what `support` missed.
    """

    ball: TangentBall
    lower: Tensor
    upper: Tensor

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, type and device of δ."""
        return self.ball.like

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of the ball's violation and the distance out of the box; 0 within the accuracy of the oracles."""
        exact = delta.double()
        beyond_sides = torch.maximum(self.lower - exact, exact - self.upper)
        outside = beyond_sides.flatten(1).amax(1)
        outside = torch.where(outside > self._slack(delta), outside, 0)
        beyond_ball = self.ball.violation(delta)
        return torch.maximum(beyond_ball, outside.to(self.ball.radius))

    def _slack(self, delta: Tensor) -> Tensor:
        """How far a member may be outside of the box, (batch,)."""
        wider = torch.promote_types(delta.dtype, self.ball.basis.dtype)
        rounding = torch.finfo(wider).eps
        return (1.1 * interior.ACCURACY + rounding) * self._reach

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members are returned as they are."""
        outside = (self.violation(point) > 0).nonzero()[:, 0]
        if not len(outside):
            return point.clone()
        projected = point.clone()
        projected[outside] = self[outside]._project_outside(point[outside])
        return projected

    def _project_outside(self, point: Tensor) -> Tensor:
        """The nearest members to points that are none: argmin ½‖c‖² − ⟨Bz, c⟩, scaled to a drive of length 1."""
        drive = self._project_coordinates(point) / self._unit
        length = torch.linalg.vector_norm(drive, dim=1, keepdim=True).clamp(min=1)
        solution = self._solve(drive / length, 1 / length)
        return self._point(solution.point, point)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point; 0 where the direction is normal to the tangent space."""
        drive, weight = self._linear_objective(direction)
        solution = self._solve(drive, weight)
        farthest = self._point(solution.point, direction)
        length = norms(self.ball.support(direction))
        tangential = per_row(length, direction) > 0
        return torch.where(tangential, farthest, 0)

    def gap(self, direction: Tensor, found: Tensor) -> Tensor:
        """An upper bound of max_{δ ∈ 𝒰} ⟨direction, δ⟩ − ⟨direction, found⟩, (batch,).

        By weak duality: ⟨g, δ⟩ = ⟨g − q, δ⟩ + ⟨q, δ⟩ ≤ r‖Π(g − q)‖₂ + Σⱼ max(qⱼlⱼ, qⱼuⱼ), for any q; it is tight
        for the multipliers of the box.
        """
        exact = direction.double().flatten(1)
        low = self.lower.flatten(1)
        high = self.upper.flatten(1)
        # 1. q: the multipliers of the bounds that are there
        coordinates = self._project_coordinates(direction)
        length = torch.linalg.vector_norm(coordinates, dim=1, keepdim=True)
        drive, weight = self._linear_objective(direction)
        pull = length * self._solve(drive, weight).pull
        side = torch.where(pull > 0, high, low)
        pull = torch.where(side.isfinite(), pull, 0)
        # 2. the dual value
        unbalanced = coordinates - self._coordinates(pull)
        residual = torch.linalg.vector_norm(unbalanced, dim=1)
        side_values = torch.where(pull > 0, pull * high, pull * low)
        box_bound = side_values.nan_to_num(0).sum(1)
        bound = self._reach * residual + box_bound
        # 3. what it is above the value of the point
        value = inner_products(exact, found.double())
        return (bound - value).clamp(min=0)

    def _coordinates(self, flat: Tensor) -> Tensor:
        """Bz of vectors (batch, d), (batch, directions)."""
        return torch.einsum("bkd,bd->bk", self.ball.basis.double(), flat)

    def _project_coordinates(self, delta: Tensor) -> Tensor:
        """Bz of vectors (batch, *shape), (batch, directions), in float64."""
        return self._coordinates(delta.double().flatten(1))

    def _linear_objective(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Drive and weight of the problem max ⟨direction, δ⟩, see `robustfw_manifold.interior.solve`."""
        coordinates = self._project_coordinates(direction)
        length = torch.linalg.vector_norm(coordinates, dim=1, keepdim=True)
        return coordinates / length.clamp(min=interior.TINY), torch.zeros_like(length)

    @property
    def _reach(self) -> Tensor:
        """The radius, or the farthest corner of the box if that is nearer, (batch,)."""
        corner = torch.maximum(-self.lower, self.upper).flatten(1)
        corner_distance = torch.linalg.vector_norm(corner, dim=1)
        return torch.minimum(self.ball.radius.double(), corner_distance)

    @property
    def _unit(self) -> Tensor:
        """The length that the problem is solved in units of, (batch, 1)."""
        return self._reach.clamp(min=interior.TINY)[:, None]

    def _solve(self, drive: Tensor, weight: Tensor) -> interior.BallSolution:
        """The solution in coordinates, in units of the reach."""
        unit = self._unit
        low = self.lower.flatten(1) / unit
        high = self.upper.flatten(1) / unit
        return interior.solve(self.ball.basis.double(), low, high, drive, weight)

    def _point(self, coordinates: Tensor, like: Tensor) -> Tensor:
        """The member of these coordinates, given in units of the reach; of the shape and type of ``like``."""
        basis = self.ball.basis.double()
        direction = torch.einsum("bkd,bk->bd", basis, coordinates)
        point = direction * self._reach[:, None]
        return round_toward_zero(point.reshape(like.shape), like.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """An upper bound of max ⟨direction, δ⟩: the dual value (see `gap`), plus what the slack of the box may add."""
        exact = direction.double()
        farthest = self.support(exact)
        value = inner_products(exact, farthest)
        gap = self.gap(exact, farthest)
        dimension = exact[:1].numel() or 1
        root = torch.sqrt(torch.tensor(dimension))
        slack = root * self._slack(exact) + 1e-12 * self._reach
        return value + gap + norms(exact) * slack

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over s ∈ Γ, ‖s‖₂ ≤ step·r, δ + s in the box: no step is lost at a bound.

        Args:
            direction: (batch, *shape).
            delta: members to step from, (batch, *shape).
            step: length relative to the set, for all rows or (batch,).
        """
        exact = delta.double()
        low = (self.lower - exact).clamp(max=0)
        high = (self.upper - exact).clamp(min=0)
        room = TangentInBox(self.ball.scale(step), low, high)
        return room.support(direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members: uniform on the ball, then projected on the box."""
        return self.project(self.ball.sample(generator))

    def scale(self, factor: Tensor | float) -> TangentInBox:
        """The set with the radius and the bounds multiplied by a factor."""
        per_entry = per_row(factor, self.lower)
        low = torch.where(per_entry > 0, per_entry * self.lower, 0)
        high = torch.where(per_entry > 0, per_entry * self.upper, 0)
        return TangentInBox(self.ball.scale(factor), low, high)

    def clip(self, lower: Bound, upper: Bound) -> TangentInBox:
        """The set within a further box: its bounds and these, whichever is nearer to 0."""
        other = self.ball.clip(lower, upper)
        low = torch.maximum(self.lower, other.lower)
        high = torch.minimum(self.upper, other.upper)
        return TangentInBox(self.ball, low, high)
