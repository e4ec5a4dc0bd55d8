"""The interface of a region, and the three combinators that its defaults are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeAlias, final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions.rows import norms, per_row, uniform_like, wide
from robustfw.regions.splitting import PUSH_COMMON, common_point

Bound: TypeAlias = Tensor | float
"""One end of a box: a tensor that broadcasts to δ, or one number for all coordinates."""


class Region(ABC):
    """𝒰(x): for each row of a batch, a closed set of perturbations that contains 0.

    Tensors are (batch, *shape) and row i of a result depends on row i of the arguments only. A subclass
    is a frozen attrs class (``eq=False``) in which every tensor and every region has the batch as its
    first axis; that is what makes ``region[rows]`` work. `violation` defines the set; `project` and
    `support` are its two oracles, and the laws of `robustfw.testing` hold each against the other.
    """

    if TYPE_CHECKING:  # a field or a property of each subclass; attrs could not make it a field of an abstract one

        @property
        def like(self) -> Tensor:
            """Any tensor of the shape, dtype and device of δ; its values do not matter."""

    @abstractmethod
    def violation(self, delta: Tensor) -> Tensor:
        """How far δ lies outside, (batch,): zero inside, positive outside. It defines the set."""

    @abstractmethod
    def project(self, point: Tensor) -> Tensor:
        """The nearest member: argmin_{δ ∈ 𝒰} ‖δ − point‖₂."""

    @abstractmethod
    def support(self, direction: Tensor) -> Tensor:
        """A farthest member: argmax_{δ ∈ 𝒰} ⟨direction, δ⟩ (eq. 11 is this call on the gradient).

        Where the direction vanishes the answer is any member, the same each time.
        """

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member for each row; random starts and the random attack draw from it."""

    @property
    def convex(self) -> bool:
        """Whether every row is a convex set; laws and attacks that need it ask."""
        return True

    def zero(self) -> Tensor:
        """δ = 0, which every region contains."""
        return torch.zeros_like(self.like)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃, the example that δ makes of x: x + δ, unless the set's parameters mean something else.

        A set that overrides this (a rotation, say) overrides `within` too: its range is its own affair.
        """
        return x + delta

    @property
    def additive(self) -> bool:
        """Whether x̃ is x + δ, so that the gradient in δ at 0 is that in x, whatever the set."""
        return type(self).apply is Region.apply

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        """A move of steepest ascent from δ in the set's own geometry: argmax ⟨direction, s⟩, s ∈ step·𝒰.

        ``step`` is relative to the set: 1 goes as far from δ as the border is from 0. The caller projects
        δ + s. A region that knows the data range spends the move only where there is room for it.
        """
        return step * self.support(direction)

    def within(self, lower: Bound, upper: Bound) -> Region:
        """𝒰 ∩ {lower ≤ δ ≤ upper}: by iterated projections, unless a subclass knows it exactly."""
        return Intersection((self, Box.around(self.like, lower, upper)))

    def scaled(self, factor: Tensor | float) -> Region:
        """factor·𝒰, with one factor ≥ 0 for all rows or one per row, (batch,)."""
        return Scaled(self, per_row(factor, self.like).expand(len(self), *[1] * (self.like.dim() - 1)))

    def __len__(self) -> int:
        return len(self.like)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The same sets for some of the rows: a mask, indices or a slice."""
        owner: Any = self  # an attrs class, which the type of an abstract base cannot say
        values = {field.name: getattr(self, field.name) for field in attrs.fields(type(owner))}
        return attrs.evolve(owner, **{name: _rows_of(value, rows) for name, value in values.items()})


def _rows_of(value: object, rows: Tensor | slice) -> object:
    if isinstance(value, Tensor | Region):
        return value[rows]
    if isinstance(value, tuple):
        return tuple(_rows_of(part, rows) for part in value)
    return value


@final
@attrs.frozen(eq=False)
class Box(Region):
    """{δ : lower ≤ δ ≤ upper} with lower ≤ 0 ≤ upper."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def around(cls, like: Tensor, lower: Bound, upper: Bound) -> Box:
        """A box with bounds that broadcast to ``like``."""
        return cls(*(torch.as_tensor(b, dtype=like.dtype, device=like.device).expand_as(like) for b in (lower, upper)))

    @property
    def like(self) -> Tensor:
        return self.lower

    def violation(self, delta: Tensor) -> Tensor:
        """max_j of lower − δ and δ − upper, where positive."""
        return torch.maximum(self.lower - delta, delta - self.upper).flatten(1).amax(1).clamp(min=0)

    def project(self, point: Tensor) -> Tensor:
        """The coordinates clamped."""
        return point.clamp(self.lower, self.upper)

    def support(self, direction: Tensor) -> Tensor:
        """The corner that the direction points to; 0 where it vanishes."""
        corner = torch.where(direction > 0, self.upper, self.lower)
        return torch.where(direction == 0, torch.zeros_like(corner), corner)

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        """Each coordinate by its longer side, as far as there is room."""
        reach = step * torch.maximum(-self.lower, self.upper)
        return self.project(delta + reach * direction.sign()) - delta

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform."""
        return self.lower + (self.upper - self.lower) * uniform_like(self.lower, generator).to(self.lower.dtype)

    def within(self, lower: Bound, upper: Bound) -> Box:
        """The smaller box."""
        other = Box.around(self.like, lower, upper)
        return Box(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))


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

    def _unscaled(self, point: Tensor) -> Tensor:
        return point / self.factor.clamp(min=torch.finfo(self.factor.dtype).tiny)

    def violation(self, delta: Tensor) -> Tensor:
        """factor · violation(δ / factor); ‖δ‖₂ where the factor is 0."""
        inner = self.factor.flatten() * self.region.violation(torch.where(self.factor > 0, self._unscaled(delta), 0))
        return torch.where(self.factor.flatten() > 0, inner, norms(delta))

    def project(self, point: Tensor) -> Tensor:
        return self.factor * self.region.project(torch.where(self.factor > 0, self._unscaled(point), 0))

    def support(self, direction: Tensor) -> Tensor:
        return self.factor * self.region.support(direction)

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        return self.factor * self.region.ascent(direction, self._unscaled(delta), step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.factor * self.region.sample(generator)

    def within(self, lower: Bound, upper: Bound) -> Scaled:
        """f·𝒰 ∩ [l, u] = f·(𝒰 ∩ [l/f, u/f]): as exact as the region's own."""
        low, high = (torch.as_tensor(b, dtype=self.like.dtype, device=self.like.device) for b in (lower, upper))
        return Scaled(self.region.within(self._unscaled(low), self._unscaled(high)), self.factor)


@final
@attrs.frozen(eq=False)
class Intersection(Region):
    """𝒰₁ ∩ … ∩ 𝒰ₘ of convex regions, from their projections alone (see `robustfw.regions.splitting`).

    Projections are members of the last 𝒰ᵢ; their violation of the others, and their distance to the true answer, are
    about ``accuracy`` relative to the size of the set. The same holds for `support`.
    """

    members: tuple[Region, ...] = attrs.field()
    accuracy: float = 1e-8
    rounds: int = 5000
    """A bound on the rounds; reaching it gives a warning that says how far rows still moved."""

    @members.validator
    def _check(self, _: object, members: tuple[Region, ...]) -> None:
        if not all(member.convex for member in members):
            raise UsageError(
                "an intersection needs convex regions: intersect the members of a union one by one, "
                "or give a set that is not convex an exact `within` of its own"
            )

    @property
    def like(self) -> Tensor:
        return self.members[0].like

    def violation(self, delta: Tensor) -> Tensor:
        """The largest of the members' violations."""
        return torch.stack([member.violation(delta) for member in self.members]).amax(0)

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
        moving = norms(direction) > 0
        settled = torch.zeros_like(direction)
        if moving.any():
            towards = direction[moving].to(wide(direction.dtype))
            rest, size = self[moving], self._size(direction)[moving].to(towards)
            push = per_row(PUSH_COMMON * size / norms(towards), towards)
            settled[moving] = rest._common(push * towards, torch.zeros_like(push), size).to(direction.dtype)
        return settled

    def _size(self, direction: Tensor) -> Tensor:
        """How far the smallest member reaches in a direction, (batch,)."""
        reach = torch.stack([norms(member.support(direction)) for member in self.members]).amin(0)
        return reach.clamp(min=torch.finfo(reach.dtype).tiny)

    def _common(self, drive: Tensor, weight: Tensor, size: Tensor) -> Tensor:
        return common_point(self.members, drive, weight, size, self.accuracy, self.rounds)

    def within(self, lower: Bound, upper: Bound) -> Intersection:
        """One more member, not an intersection of intersections."""
        return attrs.evolve(self, members=(*self.members, Box.around(self.like, lower, upper)))

    def ascent(self, direction: Tensor, delta: Tensor, step: float) -> Tensor:
        """In the geometry of the first member; the others act when the caller projects."""
        return self.members[0].ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member of the first region, projected."""
        return self.project(self.members[0].sample(generator))
