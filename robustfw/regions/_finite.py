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
    wide,
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
        device = candidates.device
        if level is None:
            level = candidates.new_ones(count)
        levels = level.to(device, torch.float64)
        # a sum over the candidates has the shape of δ also where there is none
        like = torch.zeros_like(candidates.sum(1))
        return cls(
            like=like,
            candidates=candidates,
            level=levels.expand(batch, count),
            factor=torch.ones(batch, 1, dtype=torch.float64, device=device),
        )

    @property
    def convex(self) -> bool:
        return False

    def members(self) -> Tensor:
        """0 and the candidates that the factor allows, (batch, 1 + k, *shape), with 0 in place of the others."""
        trailing = [1] * (self.like.dim() - 1)
        allowed = self._candidate_mask().reshape(*self.level.shape, *trailing)
        zero = self.zero()[:, None]
        candidates = torch.where(allowed, self.candidates, 0)
        return torch.cat([zero, candidates], 1)

    def _candidate_mask(self) -> Tensor:
        """The mask of the candidates that the factor allows, (batch, k), with slack for a factor rounded to float32."""
        return self.level <= self.factor * (1 + 1e-6)

    def _choose(self, scores: Tensor) -> Tensor:
        """For each row the member with the highest of the scores (batch, 1 + k), the first one at a tie."""
        best = scores.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        return self.members()[rows, best]

    def _distances(self, point: Tensor) -> Tensor:
        """‖point − member‖₂ for each member, (batch, 1 + k)."""
        differences = exact(self.members()) - exact(point)[:, None]
        batch_and_members = differences.shape[:2]
        distances = norms(differences.flatten(0, 1))
        return distances.reshape(batch_and_members)

    def violation(self, delta: Tensor) -> Tensor:
        """The ℓ2 distance to the nearest member, (batch,)."""
        return self._distances(delta).amin(1).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        return self._choose(-self._distances(point)).to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        unit = exact(with_unit_maximum(direction))
        terms = unit[:, None] * exact(self.members())
        gains = terms.flatten(2).sum(2)
        return self._choose(gains).to(direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The largest ⟨direction, member⟩ and a margin for rounding, (batch,), in float64."""
        products = exact(direction)[:, None] * exact(self.members())
        terms = products.flatten(2)
        magnitude = terms.abs().sum(2)
        rounding = MARGIN * torch.finfo(terms.dtype).eps * magnitude
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
        zero_allowed = torch.ones_like(self.factor, dtype=torch.bool)
        allowed = torch.cat([zero_allowed, self._candidate_mask()], 1)
        one_per_member = self.level.new_empty(allowed.shape)
        scores = uniform_like(one_per_member, generator)
        return self._choose(scores.masked_fill(~allowed, -1))

    def clip(self, lower: Bound, upper: Bound) -> Finite:
        """The set of the members clamped to the bounds: perturbed examples are cut off at the data range."""
        like = self.like
        dtype = wide(like.dtype)
        low = torch.as_tensor(lower, dtype=dtype, device=like.device)
        high = torch.as_tensor(upper, dtype=dtype, device=like.device)
        # the same bounds for all candidates of a row
        low = low.expand_as(like)[:, None]
        high = high.expand_as(like)[:, None]
        clamped = self.candidates.to(dtype).clamp(low, high)
        candidates = round_toward_zero(clamped, like.dtype)
        return attrs.evolve(self, candidates=candidates)

    def scale(self, factor: Tensor | float) -> Finite:
        """The set of the members whose level is at most the product of both factors."""
        product = self.factor * per_row(factor, self.factor)
        return attrs.evolve(self, factor=product)
