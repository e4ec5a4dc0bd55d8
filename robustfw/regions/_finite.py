"""Finite sets: a list of perturbations for each row."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions._base import Bound, Region
from robustfw.regions._rows import exact, norms, per_row, step_per_row, toward_zero, uniform_like, with_unit_maximum


@final
@attrs.frozen(eq=False)
class Finite(Region):
    """{0, δ₁, …, δₖ}: a list of perturbations for each row, and 0. Every oracle looks at all of them.

    Half of a member is none, so a smaller set is a shorter list: `scaled` by f keeps the members of a level up to f.
    """

    like: Tensor
    candidates: Tensor
    """(batch, k, *shape), in the type of δ."""
    level: Tensor
    """(batch, k): the least factor at which a member is in the set, more than 0; 1 for what the set itself reaches."""
    factor: Tensor
    """(batch, 1)."""

    @classmethod
    def of(cls, candidates: Tensor, level: Tensor | None = None) -> Finite:
        """The set of candidates (batch, k, *shape), with their levels (k,), all 1 by default."""
        batch, count = candidates.shape[:2]
        candidates = candidates.detach()
        levels = candidates.new_ones(count, dtype=torch.float64) if level is None else level.to(torch.float64)
        factor = torch.ones(batch, 1, dtype=torch.float64, device=candidates.device)
        like = torch.zeros_like(candidates.sum(1)) if count else candidates.sum(1)
        return cls(like, candidates, levels.to(candidates.device).expand(batch, count), factor)

    @property
    def convex(self) -> bool:
        return False

    def members(self) -> Tensor:
        """0 and the candidates that the factor allows, (batch, 1 + k, *shape); 0 in the place of the others."""
        allowed = self._allow().reshape(*self.level.shape, *[1] * (self.like.dim() - 1))
        return torch.cat([self.zero()[:, None], torch.where(allowed, self.candidates, 0)], 1)

    def _allow(self) -> Tensor:
        """Which candidates the factor allows, (batch, k); a factor that came in float32 counts as its decimal."""
        return self.level <= self.factor * (1 + 1e-6)

    def _choose(self, scores: Tensor) -> Tensor:
        """For each row the member of highest score, (batch, 1 + k), the first at a tie."""
        best = scores.argmax(1)
        return self.members()[torch.arange(len(best), device=best.device), best]

    def _distances(self, point: Tensor) -> Tensor:
        """‖point − member‖₂, (batch, 1 + k)."""
        apart = exact(self.members()) - exact(point)[:, None]
        return norms(apart.flatten(0, 1)).reshape(apart.shape[:2])

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the nearest member."""
        return self._distances(delta).amin(1).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        return self._choose(-self._distances(point)).to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        gains = exact(with_unit_maximum(direction))[:, None] * exact(self.members())
        return self._choose(gains.flatten(2).sum(2)).to(direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The largest of the members' values, with room for rounding."""
        terms = (exact(direction)[:, None] * exact(self.members())).flatten(2)
        return (terms.sum(2) + 64 * torch.finfo(terms.dtype).eps * terms.abs().sum(2)).amax(1)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """A share ``step`` of the way to the best member; the projection then takes whichever is nearer."""
        share = step_per_row(step, delta)
        share = share.clamp(max=1) if isinstance(share, Tensor) else min(share, 1.0)
        return share * (self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One of the members that the factor allows, all alike."""
        scores = uniform_like(self.level.new_empty(len(self), 1 + self.level.shape[1]), generator)
        allowed = torch.cat([torch.ones_like(self.factor, dtype=torch.bool), self._allow()], 1)
        return self._choose(scores.masked_fill(~allowed, -1))

    def within(self, lower: Bound, upper: Bound) -> Finite:
        """The same list with every member clamped to the bounds: what leaves the data range is cut off there."""
        kind = torch.promote_types(self.like.dtype, torch.float32)
        bounds = (torch.as_tensor(bound, dtype=kind, device=self.like.device) for bound in (lower, upper))
        low, high = (bound.expand_as(self.like) for bound in bounds)
        clamped = self.candidates.to(kind).clamp(low[:, None], high[:, None])
        return attrs.evolve(self, candidates=toward_zero(clamped, self.like.dtype))

    def scaled(self, factor: Tensor | float) -> Finite:
        """The members of a level up to the factor."""
        return attrs.evolve(self, factor=self.factor * per_row(factor, self.factor))
