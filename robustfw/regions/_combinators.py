"""Regions made of regions: sums, unions, masks, changes of basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import Bound, Region
from robustfw.regions._derived import transformation
from robustfw.regions._rows import exact, inner_products, norms, per_row, uniform_like, wide, with_unit_maximum
from robustfw.regions._splitting import nearest_sum


@final
@attrs.frozen(eq=False)
class Sum(Region):
    """The Minkowski sum 𝒰₁ + … + 𝒰ₘ = {δ₁ + … + δₘ : δᵢ ∈ 𝒰ᵢ} of convex regions.

    `support` is exact: the sum of the members' answers. `project` is about as accurate as ``accuracy`` says, relative
    to the size of the set, and always a sum of members (see `robustfw.regions.splitting`).

    A member whose x̃ is not x + δ gives its `apply` to the sum: all summands are then changes of its parameters.
    """

    regions: tuple[Region, ...] = attrs.field()
    accuracy: float = 1e-7
    rounds: int = 1000

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        transformation(regions, "a sum")

    @property
    def like(self) -> Tensor:
        return self.regions[0].like

    @property
    def convex(self) -> bool:
        return all(region.convex for region in self.regions)

    @property
    def additive(self) -> bool:
        return all(region.additive for region in self.regions)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ of the summand that says what δ means; x + δ where none does."""
        owner = transformation(self.regions, "a sum")
        return x + delta if owner is None else owner.apply(x, delta)

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the set, as ⟨g, δ⟩ − max_{s ∈ 𝒰} ⟨g, s⟩ with g = (δ − Pδ)/‖δ − Pδ‖₂.

        However far P has come, this is never positive for a member and never above the true distance.
        """
        point = exact(delta)
        rest = with_unit_maximum(point - self._project_by_splitting(point))
        farthest = self.support(rest)
        length = norms(rest)
        distance = inner_products(rest, point - farthest) / torch.where(length > 0, length, 1)
        rounding = 64 * torch.finfo(delta.dtype).eps * (norms(point) + norms(farthest))
        return torch.where(distance > rounding, distance, 0).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """The nearest sum; members are returned as they are."""
        inside = per_row((self.violation(point) <= 0).to(point), point) > 0
        return torch.where(inside, point, self._project_by_splitting(point))

    def _project_by_splitting(self, point: Tensor) -> Tensor:
        far = point.to(wide(point.dtype))
        size = norms(self.support(point)).to(far).clamp(min=torch.finfo(far.dtype).tiny)
        return nearest_sum(self.regions, far, size, self.accuracy, self.rounds).to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        return torch.stack([region.support(direction) for region in self.regions]).sum(0)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The sum of the members' bounds."""
        return torch.stack([region.support_bound(direction) for region in self.regions]).sum(0)

    def sample(self, generator: torch.Generator) -> Tensor:
        return torch.stack([region.sample(generator) for region in self.regions]).sum(0)


@final
@attrs.frozen(eq=False)
class Union(Region):
    """𝒰₁ ∪ … ∪ 𝒰ₘ: an adversary who may choose the set. Not convex; every oracle takes the best member.

    All members make the same x̃ of a δ: all of them x + δ, or all of one class of regions with an `apply` of its own.
    """

    regions: tuple[Region, ...] = attrs.field()

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        if transformation(regions, "a union") is not None and any(region.additive for region in regions):
            raise UsageError("a union cannot hold both sets whose x̃ is x + δ and sets whose x̃ is not")

    @property
    def like(self) -> Tensor:
        return self.regions[0].like

    @property
    def convex(self) -> bool:
        return len(self.regions) == 1 and self.regions[0].convex

    @property
    def additive(self) -> bool:
        return self.regions[0].additive

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ of each row's nearest member, the first where several contain δ."""
        if self.additive:
            return x + delta
        candidates = [region.apply(x, delta) for region in self.regions]
        return _choose_best(candidates, [-region.violation(delta.detach()) for region in self.regions])

    def violation(self, delta: Tensor) -> Tensor:
        """The smallest of the members' violations."""
        return torch.stack([region.violation(delta) for region in self.regions]).amin(0)

    def project(self, point: Tensor) -> Tensor:
        candidates = [region.project(point) for region in self.regions]
        return _choose_best(candidates, [-norms(point - candidate) for candidate in candidates])

    def support(self, direction: Tensor) -> Tensor:
        candidates = [region.support(direction) for region in self.regions]
        return _choose_farthest(candidates, direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The largest of the members' bounds."""
        return torch.stack([region.support_bound(direction) for region in self.regions]).amax(0)

    def members(self) -> Tensor | None:
        """The members of all sets, if each of them is finite."""
        found = [region.members() for region in self.regions]
        finite = [members for members in found if members is not None]
        return torch.cat(finite, 1) if len(finite) == len(found) else None

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The members' best move."""
        return _choose_farthest([region.ascent(direction, delta, step) for region in self.regions], direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Each row from a member drawn at random."""
        candidates = [region.sample(generator) for region in self.regions]
        scores = uniform_like(self.like.new_empty(len(self.regions), len(self)), generator)
        return _choose_best(candidates, list(scores))

    def within(self, lower: Bound, upper: Bound) -> Union:
        """The union of the members' own intersections: exact where theirs are."""
        return Union(tuple(region.within(lower, upper) for region in self.regions))

    def scaled(self, factor: Tensor | float) -> Union:
        """The union of the members' own smaller sets."""
        return Union(tuple(region.scaled(factor) for region in self.regions))


def _choose_farthest(candidates: list[Tensor], direction: Tensor) -> Tensor:
    """For each row the candidate with the largest ⟨direction, candidate⟩, however long the direction is."""
    towards = with_unit_maximum(direction)
    return _choose_best(candidates, [inner_products(towards, candidate) for candidate in candidates])


def _choose_best(candidates: list[Tensor], scores: list[Tensor]) -> Tensor:
    """For each row the candidate with the highest score, the first one at a tie."""
    chosen = torch.stack(scores).argmax(0)
    return torch.stack(candidates)[chosen, torch.arange(len(chosen), device=chosen.device)]


@final
@attrs.frozen(eq=False)
class Masked(Region):
    """{δ ∈ 𝒰 : δ = 0 where the mask is 0}: a patch, a frame, the channels that may change.

    A mask is a box without width, so this is exactly as exact as ``region.within``.
    """

    region: Region = attrs.field()
    mask: Tensor
    """Zero and non-zero entries, of the shape of δ."""

    @region.validator
    def _check(self, _: object, region: Region) -> None:
        if not region.additive:
            raise UsageError(
                "a mask says which coordinates of x may change, so it needs a set whose x̃ is x + δ: "
                f"{type(region).__name__} is none"
            )

    @property
    def like(self) -> Tensor:
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    def _restricted_region(self) -> Region:
        room = torch.zeros_like(self.like).masked_fill(self.mask.expand_as(self.like) != 0, torch.inf)
        return self.region.within(-room, room)

    def violation(self, delta: Tensor) -> Tensor:
        return self._restricted_region().violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self._restricted_region().project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self._restricted_region().support(direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        return self._restricted_region().support_bound(direction)

    def members(self) -> Tensor | None:
        return self._restricted_region().members()

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        return self._restricted_region().ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self._restricted_region().sample(generator)

    def within(self, lower: Bound, upper: Bound) -> Region:
        return Masked(self.region.within(lower, upper), self.mask)

    def scaled(self, factor: Tensor | float) -> Masked:
        return Masked(self.region.scaled(factor), self.mask)


@final
@attrs.frozen(eq=False)
class Transformed(Region):
    """{A u : u ∈ 𝒰} for an isometry A: a ball in another basis (colour space, cosine transform).

    ``forward`` is u ↦ A u and ``adjoint`` is δ ↦ Aᵀδ, both on (batch, *shape) and linear with AᵀA = AAᵀ = I; for
    any other map the projection would not be the nearest point, which the laws of `robustfw.testing` show.
    """

    region: Region
    forward: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]

    @property
    def like(self) -> Tensor:
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    @property
    def additive(self) -> bool:
        return self.region.additive

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """What the region makes of u = Aᵀδ; x + δ where it adds."""
        return x + delta if self.additive else self.region.apply(x, self.adjoint(delta))

    def violation(self, delta: Tensor) -> Tensor:
        return self.region.violation(self.adjoint(delta))

    def project(self, point: Tensor) -> Tensor:
        return self.forward(self.region.project(self.adjoint(point)))

    def support(self, direction: Tensor) -> Tensor:
        return self.forward(self.region.support(self.adjoint(direction)))

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.forward(self.region.sample(generator))

    def support_bound(self, direction: Tensor) -> Tensor:
        """The region's own bound at Aᵀg, with room for the rounding of the isometry."""
        towards = self.adjoint(direction)
        rounding = 64 * torch.finfo(towards.dtype).eps * exact(towards).flatten(1).abs()
        farthest = exact(self.region.support(towards)).flatten(1).abs()
        return self.region.support_bound(towards) + norms(rounding) * norms(farthest)

    def members(self) -> Tensor | None:
        found = self.region.members()
        if found is None:
            return None
        return torch.stack([self.forward(member) for member in found.unbind(1)], 1)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The region's own move, in its basis."""
        return self.forward(self.region.ascent(self.adjoint(direction), self.adjoint(delta), step))

    def scaled(self, factor: Tensor | float) -> Transformed:
        """A is linear: A(f·u) = f·Au."""
        return attrs.evolve(self, region=self.region.scaled(factor))
