"""Regions that combine several others: Minkowski sums and unions."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import MARGIN, Bound, Region
from robustfw.regions._derived import transformation
from robustfw.regions._rows import (
    exact,
    inner_products,
    norms,
    per_row,
    uniform_like,
    wide,
    with_unit_maximum,
)
from robustfw.regions._splitting import nearest_sum


@final
@attrs.frozen(eq=False)
class Sum(Region):
    """The Minkowski sum 𝒰₁ + … + 𝒰ₘ = {δ₁ + … + δₘ : δᵢ ∈ 𝒰ᵢ} of convex regions.

    `support` is exact: the sum of the summands' supports. `project` gives a sum of members whose distance to the exact
    projection is about ``accuracy``, relative to the size of the set (see `nearest_sum`).

    A summand whose x̃ is not x + δ gives its `apply` to the sum: all summands are then changes of its parameters.
    """

    regions: tuple[Region, ...] = attrs.field()
    accuracy: float = 1e-7
    """Accuracy of projections, relative to the size of the set."""
    rounds: int = 1000
    """Largest number of rounds of a projection."""

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        transformation(regions, "a sum")

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.regions[0].like

    @property
    def convex(self) -> bool:
        return all(region.convex for region in self.regions)

    @property
    def additive(self) -> bool:
        return all(region.additive for region in self.regions)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ by the `apply` of the summand that has one of its own; otherwise x + δ."""
        special = transformation(self.regions, "a sum")
        if special is None:
            return x + delta
        return special.apply(x, delta)

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the set, as ⟨g, δ⟩ − max_{s ∈ 𝒰} ⟨g, s⟩ with g = (δ − Pδ)/‖δ − Pδ‖₂; (batch,).

        However accurate the projection P is, this is never positive for a member and never above the true distance.
        """
        point = exact(delta)
        nearest = self._project_by_splitting(point)
        normal = with_unit_maximum(point - nearest)
        farthest = self.support(normal)
        length = norms(normal)
        safe_length = torch.where(length > 0, length, 1)
        distance = inner_products(normal, point - farthest) / safe_length
        magnitude = norms(point) + norms(farthest)
        rounding = MARGIN * torch.finfo(delta.dtype).eps * magnitude
        return torch.where(distance > rounding, distance, 0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest sum of members; points of the set are returned as they are."""
        is_member = (self.violation(point) <= 0).to(point)
        inside = per_row(is_member, point) > 0
        return torch.where(inside, point, self._project_by_splitting(point))

    def _project_by_splitting(self, point: Tensor) -> Tensor:
        """The nearest sum by the iteration of `nearest_sum`, for points inside and outside."""
        wide_point = point.to(wide(point.dtype))
        reach = norms(self.support(point)).to(wide_point)
        size = reach.clamp(min=torch.finfo(wide_point.dtype).tiny)
        nearest = nearest_sum(
            self.regions,
            point=wide_point,
            size=size,
            accuracy=self.accuracy,
            rounds=self.rounds,
        )
        return nearest.to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        supports = [region.support(direction) for region in self.regions]
        return torch.stack(supports).sum(0)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The sum of the summands' bounds, (batch,)."""
        bounds = [region.support_bound(direction) for region in self.regions]
        return torch.stack(bounds).sum(0)

    def sample(self, generator: torch.Generator) -> Tensor:
        members = [region.sample(generator) for region in self.regions]
        return torch.stack(members).sum(0)


@final
@attrs.frozen(eq=False)
class Union(Region):
    """𝒰₁ ∪ … ∪ 𝒰ₘ: an adversary who may choose the set. Not convex; every oracle takes the best set's answer.

    All sets give the same x̃ for a δ: either all x + δ, or all are of one class of regions with an `apply` of its own.
    """

    regions: tuple[Region, ...] = attrs.field()

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        special = transformation(regions, "a union")
        if special is not None and any(region.additive for region in regions):
            raise UsageError(
                "a union cannot hold both sets whose x̃ is x + δ and sets whose x̃ is not"
            )

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.regions[0].like

    @property
    def convex(self) -> bool:
        return len(self.regions) == 1 and self.regions[0].convex

    @property
    def additive(self) -> bool:
        return self.regions[0].additive

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ by the `apply` of each row's nearest set, the first where several contain δ."""
        if self.additive:
            return x + delta
        candidates = [region.apply(x, delta) for region in self.regions]
        scores = [-region.violation(delta.detach()) for region in self.regions]
        return _choose_best(candidates, scores)

    def violation(self, delta: Tensor) -> Tensor:
        """The smallest violation of one of the sets, (batch,)."""
        violations = [region.violation(delta) for region in self.regions]
        return torch.stack(violations).amin(0)

    def project(self, point: Tensor) -> Tensor:
        candidates = [region.project(point) for region in self.regions]
        scores = [-norms(point - candidate) for candidate in candidates]
        return _choose_best(candidates, scores)

    def support(self, direction: Tensor) -> Tensor:
        candidates = [region.support(direction) for region in self.regions]
        return _choose_farthest(candidates, direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The largest bound of one of the sets, (batch,)."""
        bounds = [region.support_bound(direction) for region in self.regions]
        return torch.stack(bounds).amax(0)

    def members(self) -> Tensor | None:
        """The members of all sets if each of them is finite; otherwise None."""
        lists = []
        for region in self.regions:
            members = region.members()
            if members is None:
                return None
            lists.append(members)
        return torch.cat(lists, 1)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The step of the set whose own step goes farthest in the direction.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        candidates = [region.ascent(direction, delta, step) for region in self.regions]
        return _choose_farthest(candidates, direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member for each row, from one of the sets drawn at random."""
        candidates = [region.sample(generator) for region in self.regions]
        one_per_candidate = self.like.new_empty(len(self.regions), len(self))
        scores = uniform_like(one_per_candidate, generator)
        return _choose_best(candidates, list(scores))

    def clip(self, lower: Bound, upper: Bound) -> Union:
        """The union of the sets' intersections with the bounds: exact where theirs are."""
        return Union(tuple(region.clip(lower, upper) for region in self.regions))

    def scale(self, factor: Tensor | float) -> Union:
        """The union of the sets scaled by the factor."""
        return Union(tuple(region.scale(factor) for region in self.regions))


def _choose_farthest(candidates: list[Tensor], direction: Tensor) -> Tensor:
    """For each row the candidate with the largest ⟨direction, candidate⟩, however long the direction is."""
    unit = with_unit_maximum(direction)
    scores = [inner_products(unit, candidate) for candidate in candidates]
    return _choose_best(candidates, scores)


def _choose_best(candidates: list[Tensor], scores: list[Tensor]) -> Tensor:
    """For each row the candidate with the highest score, the first one at a tie."""
    best = torch.stack(scores).argmax(0)
    rows = torch.arange(len(best), device=best.device)
    return torch.stack(candidates)[best, rows]
