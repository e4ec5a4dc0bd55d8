"""The interface of a region: the set 𝒰(x) of perturbations for each row of a batch."""

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
"""Error of the value of an exact support in units of the rounding of Σ|g_j δ_j|."""


class Region(ABC):
    """The perturbations that are allowed at each example of a batch: 𝒰(x), a closed set per row that contains 0.

    `UncertaintySet.at(x)` makes a region; training, attacks, evaluation and certificates use it. Perturbations δ,
    points and directions have the shape of ``region.zero()``, (batch, *shape): the shape of x where x̃ = x + δ. The
    batch may be empty, and row i of a result depends on row i of the arguments only.

    Four methods make a region. Everything else follows from them, and may be overridden by something faster:

    - `violation(δ)` defines the set: 0 for members, positive outside, (batch,);
    - `project(z)` is the nearest member, argmin ‖δ − z‖₂;
    - `support(g)` is the member farthest in a direction, argmax ⟨g, δ⟩: one step of the fast gradient method;
    - `sample(generator)` is a random member.

    To write one, derive a frozen attrs class (``@attrs.frozen(eq=False)``) with a field or property ``like``, a tensor
    of the shape, dtype and device of δ. Tensors and regions among its fields have the batch as first axis, so that
    ``region[rows]`` selects rows. `robustfw.testing.check` then tests the methods against each other.
    """

    # a field or a property of each subclass; attrs could not override an abstract property by a field
    if TYPE_CHECKING:

        @property
        def like(self) -> Tensor:
            """Any tensor of the shape, dtype and device of δ; its values do not matter."""

    @abstractmethod
    def violation(self, delta: Tensor) -> Tensor:
        """The distance of δ from the set in some measure, (batch,): 0 inside, positive outside. It defines the set."""

    @abstractmethod
    def project(self, point: Tensor) -> Tensor:
        """The nearest member: argmin_{δ ∈ 𝒰} ‖δ − point‖₂."""

    @abstractmethod
    def support(self, direction: Tensor) -> Tensor:
        """A farthest member: argmax_{δ ∈ 𝒰} ⟨direction, δ⟩ (eq. 11 is this call on the gradient).

        The length of the direction does not matter, be it 1e-38 or 1e38. Where the direction vanishes the result is
        any member, but always the same one.
        """

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member for each row, for random starts and the random attack."""

    @property
    def convex(self) -> bool:
        """Whether every row is a convex set, which some laws and attacks need."""
        return True

    def zero(self) -> Tensor:
        """δ = 0, which every region contains."""
        return torch.zeros_like(self.like)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """The perturbed example x̃, of the shape and type of x: x + δ, unless δ means something else.

        A set may override this method alone: brightness x·(1 + δ), a rotation by an angle δ (see `Parametric`).
        apply(x, 0) is x, and x̃ is differentiable in δ for attacks that use gradients.
        """
        return x + delta

    @property
    def additive(self) -> bool:
        """Whether x̃ is x + δ, so that the gradient in δ at 0 equals that in x."""
        return type(self).apply is Region.apply

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The step s of steepest ascent from δ in the set's own geometry: argmax ⟨direction, s⟩, s ∈ step·𝒰.

        The caller projects δ + s. A region that knows the data range moves only coordinates that have room.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,): 1 goes as far from δ as the
                border is from 0.
        """
        return step_per_row(step, delta) * self.support(direction)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """The region of the members with lower ≤ x̃ − x ≤ upper.

        The data range enters by the bounds lower − x and upper − x. Where x̃ is x + δ the result is
        𝒰 ∩ {lower ≤ δ ≤ upper}, by iterated projections, unless a subclass knows it exactly. For any other `apply` the
        set of perturbations stays as it is and x̃ is clamped (see `Clipped`).
        """
        from robustfw.regions._box import Box
        from robustfw.regions._derived import Clipped
        from robustfw.regions._intersection import Intersection

        if self.additive:
            return Intersection((self, Box.broadcast(self.like, lower, upper)))
        return Clipped(self, lower, upper)

    def scale(self, factor: Tensor | float) -> Region:
        """The region factor·𝒰, with one factor ≥ 0 for all rows or one per row, (batch,).

        A set in which half of a member is not a member, such as a lattice or a list, overrides this: 1 gives the set
        itself, 0 the set {0}, and a member for one factor is a member for every larger one.
        """
        from robustfw.regions._derived import Scaled

        trailing = [1] * (self.like.dim() - 1)
        factors = per_row(factor, self.like).expand(len(self), *trailing)
        return Scaled(self, factors)

    def members(self) -> Tensor | None:
        """All members of a finite set, (batch, k, *shape of δ), repeated where a row has fewer; None for other sets."""
        return None

    def support_bound(self, direction: Tensor) -> Tensor:
        """An upper bound of max_{δ ∈ 𝒰} ⟨direction, δ⟩, which no member exceeds, (batch,), in float64.

        A set with an exact `support` returns `exact_bound`; a set with an iterated support needs a proof, such as a
        dual value.

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
        """The region of some of the rows, given as a mask, indices or a slice."""
        # every subclass is an attrs class, which the type of an abstract base cannot say
        region: Any = self
        selected = {}
        for field in attrs.fields(type(region)):
            selected[field.name] = _select_rows(getattr(self, field.name), rows)
        return attrs.evolve(region, **selected)


def exact_bound(direction: Tensor, farthest: Tensor) -> Tensor:
    """⟨direction, farthest⟩ plus a margin for rounding, (batch,), for a `support` that is exact up to rounding.

    The margin is that of the type of ``farthest``: a float64 support gives a tight bound.
    """
    terms = exact(direction).flatten(1) * exact(farthest).flatten(1)
    magnitude = terms.abs().sum(1)
    rounding = MARGIN * torch.finfo(farthest.dtype).eps * magnitude
    return terms.sum(1) + rounding


def _select_rows(value: object, rows: Tensor | slice) -> object:
    """The rows of a field's value: of a tensor, a region, or a tuple of these; other values as they are."""
    if isinstance(value, Tensor | Region):
        return value[rows]
    if isinstance(value, tuple):
        return tuple(_select_rows(part, rows) for part in value)
    return value
