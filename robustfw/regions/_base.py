"""The interface of a region. What its defaults are made of is in `robustfw.regions.derived`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._rows import exact, per_row, step_per_row

Bound: TypeAlias = Tensor | float
"""One end of a box: a tensor that broadcasts to δ, or one number for all coordinates."""
MARGIN = 64
"""Roundings by which the value of an exact support may be off, relative to Σ|g_j δ_j|."""


class Region(ABC):
    """𝒰(x): for each row of a batch, a closed set of perturbations that contains 0.

    Tensors are (batch, *shape), the batch may be empty, and row i of a result depends on row i of the arguments only. A
    subclass is a frozen attrs class (``eq=False``) in which every tensor and every region has the batch as its
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

        The length of the direction does not matter, be it 1e-38 or 1e38. Where the direction vanishes the answer is
        any member, the same each time.
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
        """x̃, the example that δ makes of x, of the shape and type of x: x + δ, unless δ means something else.

        A set may override this alone: brightness x·(1 + δ), a rotation by an angle δ (see `Parametric`). apply(x, 0)
        is x, and x̃ is differentiable in δ for attacks that ask for gradients.
        """
        return x + delta

    @property
    def additive(self) -> bool:
        """Whether x̃ is x + δ, so that the gradient in δ at 0 is that in x, whatever the set."""
        return type(self).apply is Region.apply

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """A move of steepest ascent from δ in the set's own geometry: argmax ⟨direction, s⟩, s ∈ step·𝒰.

        ``step`` is relative to the set, one for all rows or one per row, (batch,): 1 goes as far from δ as the border
        is from 0. The caller projects δ + s. A region that knows the data range spends the move only where there is
        room for it.
        """
        return step_per_row(step, delta) * self.support(direction)

    def within(self, lower: Bound, upper: Bound) -> Region:
        """The members that keep lower ≤ x̃ − x ≤ upper: how the data range enters, with bounds lower − x and upper − x.

        Where x̃ is x + δ this is 𝒰 ∩ {lower ≤ δ ≤ upper}: by iterated projections, unless a subclass knows it exactly.
        For any other `apply` the set stays as it is and x̃ is clamped (see `Clipped`).
        """
        from robustfw.regions._box import Box
        from robustfw.regions._derived import Clipped, Intersection

        if self.additive:
            return Intersection((self, Box.around(self.like, lower, upper)))
        return Clipped(self, lower, upper)

    def scaled(self, factor: Tensor | float) -> Region:
        """A set of that share of the size: factor·𝒰, with one factor ≥ 0 for all rows or one per row, (batch,).

        A set of which half a member is none, a lattice or a list, overrides this: 1 gives the set itself, 0 the set
        {0}, and what is a member for one factor is so for every larger one.
        """
        from robustfw.regions._derived import Scaled

        return Scaled(self, per_row(factor, self.like).expand(len(self), *[1] * (self.like.dim() - 1)))

    def members(self) -> Tensor | None:
        """All members of a finite set, (batch, k, *shape of δ), repeated where a row has fewer; None of any other."""
        return None

    def support_bound(self, direction: Tensor) -> Tensor:
        """A number that no member exceeds: an upper bound of max_{δ ∈ 𝒰} ⟨direction, δ⟩, (batch,), in float64.

        A set with an exact `support` returns `exact_bound`; one whose support is iterated needs a proof, such as the
        dual value. Without either there is none.

        Raises:
            UsageError: the set has no such bound.
        """
        raise UsageError(
            f"{type(self).__name__} has no proven bound on its support: override support_bound, "
            "by exact_bound(…) where support is exact"
        )

    def __len__(self) -> int:
        return len(self.like)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The same sets for some of the rows: a mask, indices or a slice."""
        owner: Any = self  # an attrs class, which the type of an abstract base cannot say
        values = {field.name: getattr(self, field.name) for field in attrs.fields(type(owner))}
        return attrs.evolve(owner, **{name: _rows_of(value, rows) for name, value in values.items()})


def exact_bound(direction: Tensor, farthest: Tensor) -> Tensor:
    """⟨direction, farthest⟩ and a margin for rounding, (batch,), for an answer that is exact up to rounding.

    The margin is that of the type of ``farthest``: ask for it in float64 where the bound should be tight.
    """
    terms = exact(direction).flatten(1) * exact(farthest).flatten(1)
    return terms.sum(1) + MARGIN * torch.finfo(farthest.dtype).eps * terms.abs().sum(1)


def _rows_of(value: object, rows: Tensor | slice) -> object:
    if isinstance(value, Tensor | Region):
        return value[rows]
    if isinstance(value, tuple):
        return tuple(_rows_of(part, rows) for part in value)
    return value
