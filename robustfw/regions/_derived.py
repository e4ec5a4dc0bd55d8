"""What the defaults of a region are made of: a scaled set, a clamped x̃, and the intersection of several sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import Bound, Region
from robustfw.regions._box import Box
from robustfw.regions._rows import norms, per_row, wide, with_unit_maximum
from robustfw.regions._splitting import PUSH_COMMON, common_point


def transformation(regions: Sequence[Region], combinator: str) -> Region | None:
    """The region whose `apply` a combination of regions has; None where all of them add δ to x.

    Raises:
        UsageError: two of them make different things of one δ.
    """
    special = [region for region in regions if not region.additive]
    if not special:
        return None
    if len({type(_innermost(region)) for region in special}) > 1:
        names = " and ".join(sorted({type(_innermost(region)).__name__ for region in special}))
        raise UsageError(f"{combinator} cannot hold both {names}: they make different examples of one δ")
    return special[0]


def _innermost(region: Region) -> Region:
    """The region without the scaling and clamping around it, which do not change what δ means."""
    while isinstance(region, Scaled | Clipped):
        region = region.region
    return region


@final
@attrs.frozen(eq=False)
class Scaled(Region):
    """factor·𝒰 with factor ≥ 0, (batch, 1, …, 1)."""

    region: Region
    factor: Tensor

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
        return self.region.apply(x, delta)

    def _divide(self, point: Tensor, factor: Tensor) -> Tensor:
        """point / factor; 0 where the factor is 0."""
        return torch.where(factor > 0, point / factor.clamp(min=torch.finfo(factor.dtype).tiny), 0)

    def _multiply(self, member: Tensor) -> Tensor:
        """factor · member; 0 where the factor is 0, however far the member is."""
        return torch.where(self.factor > 0, self.factor * member, 0)

    def violation(self, delta: Tensor) -> Tensor:
        """factor · violation(δ / factor); ‖δ‖₂ where the factor is 0."""
        factor = self.factor.flatten()
        inner = factor * self.region.violation(self._divide(delta, self.factor))
        return torch.where(factor > 0, inner, norms(delta))

    def project(self, point: Tensor) -> Tensor:
        return self._multiply(self.region.project(self._divide(point, self.factor)))

    def support(self, direction: Tensor) -> Tensor:
        return self._multiply(self.region.support(direction))

    def support_bound(self, direction: Tensor) -> Tensor:
        bound = self.region.support_bound(direction)
        return torch.where(self.factor.flatten() > 0, self.factor.flatten().to(bound) * bound, 0)

    def members(self) -> Tensor | None:
        found = self.region.members()
        return None if found is None else self.factor[:, None] * found

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        return self._multiply(self.region.ascent(direction, self._divide(delta, self.factor), step))

    def sample(self, generator: torch.Generator) -> Tensor:
        return self._multiply(self.region.sample(generator))

    def scaled(self, factor: Tensor | float) -> Scaled:
        """One factor, not a factor of a factor."""
        return Scaled(self.region, self.factor * per_row(factor, self.factor))

    def within(self, lower: Bound, upper: Bound) -> Region:
        """f·𝒰 ∩ [l, u] = f·(𝒰 ∩ [l/f, u/f]), as exact as the region's own; x̃ clamped where it is not x + δ."""
        if not self.additive:
            return Clipped(self, lower, upper)
        # in float32 at least: 1 − x rounds in half precision, and a quotient may be too large for it
        like = self.factor.to(wide(self.like.dtype))
        low, high = (torch.as_tensor(b, dtype=like.dtype, device=like.device) for b in (lower, upper))
        # where the factor is 0 only 0 is a member, whatever the range
        low = torch.where(like > 0, self._divide(low, like), -torch.inf)
        high = torch.where(like > 0, self._divide(high, like), torch.inf)
        return Scaled(self.region.within(low, high), self.factor)


@final
@attrs.frozen(eq=False)
class Clipped(Region):
    """The same perturbations, with x̃ clamped: x + lower ≤ x̃ ≤ x + upper, for a set whose x̃ is not x + δ."""

    region: Region
    lower: Bound = attrs.field()
    upper: Bound = attrs.field()

    @lower.validator
    @upper.validator
    def _check(self, field: attrs.Attribute[Bound], bound: Bound) -> None:
        if isinstance(bound, Tensor) and (not bound.dim() or len(bound) != len(self.region)):
            raise UsageError(f"{field.name} must be a number or have a row for each example, not {tuple(bound.shape)}")

    @property
    def like(self) -> Tensor:
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    @property
    def additive(self) -> bool:
        return False

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ of the region, clamped; exactly that of the region where it keeps the bounds."""
        low, high = (x.to(wide(x.dtype)) + bound for bound in (self.lower, self.upper))
        return self.region.apply(x, delta).to(low.dtype).clamp(low, high).to(x.dtype)

    def violation(self, delta: Tensor) -> Tensor:
        return self.region.violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self.region.project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self.region.support(direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        return self.region.support_bound(direction)

    def members(self) -> Tensor | None:
        return self.region.members()

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        return self.region.ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.region.sample(generator)

    def scaled(self, factor: Tensor | float) -> Clipped:
        """The smaller set of perturbations; bounds are about x̃, and stay."""
        return Clipped(self.region.scaled(factor), self.lower, self.upper)

    def within(self, lower: Bound, upper: Bound) -> Clipped:
        """The narrower bounds."""
        return Clipped(
            self.region, _tighten(self.lower, lower, torch.maximum), _tighten(self.upper, upper, torch.minimum)
        )


def _tighten(one: Bound, other: Bound, choose: Callable[[Tensor, Tensor], Tensor]) -> Bound:
    """The maximum or minimum of two bounds, a number where both are."""
    like = next((bound for bound in (one, other) if isinstance(bound, Tensor)), None)
    if like is None:
        return float(choose(torch.tensor(float(one)), torch.tensor(float(other))))
    return choose(*(torch.as_tensor(bound, dtype=like.dtype, device=like.device) for bound in (one, other)))


@final
@attrs.frozen(eq=False)
class Intersection(Region):
    """𝒰₁ ∩ … ∩ 𝒰ₘ of convex regions, from their projections alone (see `robustfw.regions.splitting`).

    Projections are members of the last 𝒰ᵢ; their violation of the others, and their distance to the true answer, are
    about ``accuracy`` relative to the size of the set. The same holds for `support`. Sets of linear inequalities have
    oracles that are faster and more exact: see `Polyhedron`.

    A member whose x̃ is not x + δ gives its `apply` to the intersection; the others then restrict its parameters.
    """

    regions: tuple[Region, ...] = attrs.field()
    accuracy: float = 1e-8
    rounds: int = 5000
    """A bound on the rounds; reaching it gives a warning that says how far rows still moved."""

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        if not all(region.convex for region in regions):
            raise UsageError(
                "an intersection needs convex regions: intersect the members of a union one by one, "
                "or give a set that is not convex an exact `within` of its own"
            )
        transformation(regions, "an intersection")

    @property
    def like(self) -> Tensor:
        return self.regions[0].like

    @property
    def additive(self) -> bool:
        return all(region.additive for region in self.regions)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ of the member that says what δ means; x + δ where none does."""
        owner = transformation(self.regions, "an intersection")
        return x + delta if owner is None else owner.apply(x, delta)

    def violation(self, delta: Tensor) -> Tensor:
        """The largest of the members' violations."""
        return torch.stack([region.violation(delta) for region in self.regions]).amax(0)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point; members are returned as they are."""
        moving = self.violation(point) > 0
        settled = point.clone()
        if moving.any():
            far = point[moving].to(wide(point.dtype))
            rest, size = self[moving], self._size(point)[moving].to(far)
            weight = per_row((PUSH_COMMON * size / norms(far)).clamp(max=1), far)
            settled[moving] = rest._common(weight * far, weight, size).to(point.dtype)
        return settled

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point; 0 where the direction vanishes."""
        direction = with_unit_maximum(direction)
        moving = norms(direction) > 0
        settled = torch.zeros_like(direction)
        if moving.any():
            towards = direction[moving].to(wide(direction.dtype))
            rest, size = self[moving], self._size(direction)[moving].to(towards)
            push = per_row(PUSH_COMMON * size / norms(towards), towards)
            settled[moving] = rest._common(push * towards, torch.zeros_like(push), size).to(direction.dtype)
        return settled

    def support_bound(self, direction: Tensor) -> Tensor:
        """The least of the members' bounds: what no member of one set exceeds, no member of all does."""
        bounds = [region.support_bound(direction) for region in self.regions if has_support_bound(region)]
        if not bounds:
            return super().support_bound(direction)
        return torch.stack(bounds).amin(0)

    def _size(self, direction: Tensor) -> Tensor:
        """How far the smallest member reaches in a direction, (batch,)."""
        reach = torch.stack([norms(region.support(direction)) for region in self.regions]).amin(0)
        return reach.clamp(min=torch.finfo(reach.dtype).tiny)

    def _common(self, drive: Tensor, weight: Tensor, size: Tensor) -> Tensor:
        return common_point(self.regions, drive, weight, size, self.accuracy, self.rounds)

    def within(self, lower: Bound, upper: Bound) -> Region:
        """One more member, not an intersection of intersections; x̃ clamped where it is not x + δ."""
        if not self.additive:
            return Clipped(self, lower, upper)
        return attrs.evolve(self, regions=(*self.regions, Box.around(self.like, lower, upper)))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """In the geometry of the first member; the others act when the caller projects."""
        return self.regions[0].ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member of the first region, projected."""
        return self.project(self.regions[0].sample(generator))


def has_support_bound(region: Region) -> bool:
    """Whether the region proves a bound on its support."""
    try:
        region[:1].support_bound(region.like[:1])
    except UsageError:
        return False
    return True
