"""Regions made of regions: sums, unions, masks, changes of basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions.base import Bound, Region
from robustfw.regions.rows import inner_products, norms, per_row, uniform_like, wide
from robustfw.regions.splitting import nearest_sum


@final
@attrs.frozen(eq=False)
class Sum(Region):
    """The Minkowski sum 𝒰₁ + … + 𝒰ₘ = {δ₁ + … + δₘ : δᵢ ∈ 𝒰ᵢ} of convex regions.

    `support` is exact: the sum of the members' answers. `project` is about as accurate as ``accuracy`` says, relative
    to the size of the set, and always a sum of members (see `robustfw.regions.splitting`).
    """

    members: tuple[Region, ...]
    accuracy: float = 1e-7
    rounds: int = 1000

    @property
    def like(self) -> Tensor:
        return self.members[0].like

    @property
    def convex(self) -> bool:
        return all(member.convex for member in self.members)

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the set, as ⟨g, δ⟩ − max_{s ∈ 𝒰} ⟨g, s⟩ with g = (δ − Pδ)/‖δ − Pδ‖₂.

        However far P has come, this is never positive for a member and never above the true distance.
        """
        rest = delta - self._approached(delta)
        distance = inner_products(rest, delta - self.support(rest)) / norms(rest).clamp(min=1e-30)
        return torch.where(distance > 64 * torch.finfo(delta.dtype).eps * (1 + norms(delta)), distance, 0)

    def project(self, point: Tensor) -> Tensor:
        """The nearest sum; members are returned as they are."""
        inside = per_row((self.violation(point) <= 0).to(point), point) > 0
        return torch.where(inside, point, self._approached(point))

    def _approached(self, point: Tensor) -> Tensor:
        far = point.to(wide(point.dtype))
        size = norms(self.support(point)).to(far).clamp(min=torch.finfo(far.dtype).tiny)
        return nearest_sum(self.members, far, size, self.accuracy, self.rounds).to(point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        return torch.stack([member.support(direction) for member in self.members]).sum(0)

    def sample(self, generator: torch.Generator) -> Tensor:
        return torch.stack([member.sample(generator) for member in self.members]).sum(0)


@final
@attrs.frozen(eq=False)
class Union(Region):
    """𝒰₁ ∪ … ∪ 𝒰ₘ: an adversary who may choose the set. Not convex; every oracle takes the best member."""

    members: tuple[Region, ...]

    @property
    def like(self) -> Tensor:
        return self.members[0].like

    @property
    def convex(self) -> bool:
        return len(self.members) == 1 and self.members[0].convex

    def violation(self, delta: Tensor) -> Tensor:
        """The smallest of the members' violations."""
        return torch.stack([member.violation(delta) for member in self.members]).amin(0)

    def project(self, point: Tensor) -> Tensor:
        candidates = [member.project(point) for member in self.members]
        return _best(candidates, [-norms(point - candidate) for candidate in candidates])

    def support(self, direction: Tensor) -> Tensor:
        candidates = [member.support(direction) for member in self.members]
        return _best(candidates, [inner_products(direction, candidate) for candidate in candidates])

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        """The members' best move."""
        candidates = [member.ascent(direction, delta, step) for member in self.members]
        return _best(candidates, [inner_products(direction, candidate) for candidate in candidates])

    def sample(self, generator: torch.Generator) -> Tensor:
        """Each row from a member drawn at random."""
        candidates = [member.sample(generator) for member in self.members]
        scores = uniform_like(self.like.new_empty(len(self.members), len(self)), generator)
        return _best(candidates, list(scores))

    def within(self, lower: Bound, upper: Bound) -> Union:
        """The union of the members' own intersections: exact where theirs are."""
        return Union(tuple(member.within(lower, upper) for member in self.members))


def _best(candidates: list[Tensor], scores: list[Tensor]) -> Tensor:
    """For each row the candidate with the highest score, the first one at a tie."""
    chosen = torch.stack(scores).argmax(0)
    return torch.stack(candidates)[chosen, torch.arange(len(chosen), device=chosen.device)]


@final
@attrs.frozen(eq=False)
class Masked(Region):
    """{δ ∈ 𝒰 : δ = 0 where the mask is 0}: a patch, a frame, the channels that may change.

    A mask is a box without width, so this is exactly as exact as ``region.within``.
    """

    region: Region
    mask: Tensor
    """Zero and non-zero entries, of the shape of δ."""

    @property
    def like(self) -> Tensor:
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    def _masked(self) -> Region:
        room = torch.zeros_like(self.like).masked_fill(self.mask.expand_as(self.like) != 0, torch.inf)
        return self.region.within(-room, room)

    def violation(self, delta: Tensor) -> Tensor:
        return self._masked().violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self._masked().project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self._masked().support(direction)

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        return self._masked().ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self._masked().sample(generator)

    def within(self, lower: Bound, upper: Bound) -> Region:
        return Masked(self.region.within(lower, upper), self.mask)


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

    def violation(self, delta: Tensor) -> Tensor:
        return self.region.violation(self.adjoint(delta))

    def project(self, point: Tensor) -> Tensor:
        return self.forward(self.region.project(self.adjoint(point)))

    def support(self, direction: Tensor) -> Tensor:
        return self.forward(self.region.support(self.adjoint(direction)))

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.forward(self.region.sample(generator))
