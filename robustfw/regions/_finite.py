"""Finite sets: a list of perturbations for each row."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions._base import MARGIN, Bound, Region
from robustfw.regions._rows import (
    exact,
    norms,
    per_row,
    round_toward_zero,
    share_of_way,
    uniform_like,
    with_unit_maximum,
)


@final
@attrs.frozen(eq=False)
class Finite(Region):
    """{0, δ₁, …, δₖ}: a list of perturbations for each row, and 0. Every oracle compares all of them.

    Half of a member is not a member, so a smaller set is a shorter list: `scale` by f keeps members of level ≤ f.
    """

    like: Tensor
    candidates: Tensor
    """(batch, k, *shape), in the type of δ."""
    level: Tensor
    """The least factor > 0 at which a candidate is in the set, (batch, k); at most 1 for members of the set itself."""
    factor: Tensor
    """The factor by which the set is scaled, (batch, 1)."""

    @classmethod
    def from_candidates(cls, candidates: Tensor, level: Tensor | None = None) -> Finite:
        """The set of candidates (batch, k, *shape), with their levels (k,); by default all levels are 1."""
        batch, count = candidates.shape[:2]
        candidates = candidates.detach()
        ones = candidates.new_ones(count, dtype=torch.float64)
        levels = ones if level is None else level.to(torch.float64)
        factor = torch.ones(batch, 1, dtype=torch.float64, device=candidates.device)
        like = torch.zeros_like(candidates.sum(1)) if count else candidates.sum(1)
        return cls(
            like, candidates, levels.to(candidates.device).expand(batch, count), factor
        )

    @property
    def convex(self) -> bool:
        return False

    def members(self) -> Tensor:
        """0 and the candidates that the factor allows, (batch, 1 + k, *shape), with 0 in place of the others."""
        trailing = [1] * (self.like.dim() - 1)
        allowed = self._candidate_mask().reshape(*self.level.shape, *trailing)
        return torch.cat(
            [self.zero()[:, None], torch.where(allowed, self.candidates, 0)], 1
        )

    def _candidate_mask(self) -> Tensor:
        """The mask of the candidates that the factor allows, (batch, k), with slack for a factor rounded to float32."""
        return self.level <= self.factor * (1 + 1e-6)

    def _choose(self, scores: Tensor) -> Tensor:
        """For each row the member with the highest of the scores (batch, 1 + k), the first one at a tie."""
        best = scores.argmax(1)
        return self.members()[torch.arange(len(best), device=best.device), best]

    def _distances(self, point: Tensor) -> Tensor:
        """‖point − member‖₂ for each member, (batch, 1 + k)."""
        differences = exact(self.members()) - exact(point)[:, None]
        return norms(differences.flatten(0, 1)).reshape(differences.shape[:2])

    def violation(self, delta: Tensor) -> Tensor:
        """The ℓ2 distance to the nearest member, (batch,)."""
        return self._distances(delta).amin(1).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        return self._choose(-self._distances(point)).to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        gains = exact(with_unit_maximum(direction))[:, None] * exact(self.members())
        return self._choose(gains.flatten(2).sum(2)).to(direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The largest ⟨direction, member⟩ and a margin for rounding, (batch,), in float64."""
        terms = (exact(direction)[:, None] * exact(self.members())).flatten(2)
        rounding = MARGIN * torch.finfo(terms.dtype).eps * terms.abs().sum(2)
        return (terms.sum(2) + rounding).amax(1)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Go a share ``step`` of the way to the best member; the projection then takes the nearest member.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: share of the way, one for all rows or one per row, (batch,); more than 1 counts as 1.
        """
        return share_of_way(step, self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A member drawn at random, each one that the factor allows with equal probability."""
        scores = uniform_like(
            self.level.new_empty(len(self), 1 + self.level.shape[1]), generator
        )
        zero_allowed = torch.ones_like(self.factor, dtype=torch.bool)
        allowed = torch.cat([zero_allowed, self._candidate_mask()], 1)
        return self._choose(scores.masked_fill(~allowed, -1))

    def clip(self, lower: Bound, upper: Bound) -> Finite:
        """The set of the members clamped to the bounds: perturbed examples are cut off at the data range."""
        dtype = torch.promote_types(self.like.dtype, torch.float32)
        low = torch.as_tensor(lower, dtype=dtype, device=self.like.device).expand_as(
            self.like
        )
        high = torch.as_tensor(upper, dtype=dtype, device=self.like.device).expand_as(
            self.like
        )
        clamped = self.candidates.to(dtype).clamp(low[:, None], high[:, None])
        return attrs.evolve(
            self, candidates=round_toward_zero(clamped, self.like.dtype)
        )

    def scale(self, factor: Tensor | float) -> Finite:
        """The set of the members whose level is at most the product of both factors."""
        return attrs.evolve(self, factor=self.factor * per_row(factor, self.factor))
