"""Regions that change one other region: a mask, and a change of basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import MARGIN, Bound, Region
from robustfw.regions._rows import exact, norms


@final
@attrs.frozen(eq=False)
class Masked(Region):
    """{δ ∈ 𝒰 : δ = 0 where the mask is 0}: a patch, a frame, the channels that may change.

    A mask is a box of no width where it is 0, so all oracles are as exact as ``region.clip``.
    """

    region: Region = attrs.field()
    mask: Tensor
    """A tensor of the shape of δ: 0 for coordinates that stay, not 0 for those that may change."""

    @region.validator
    def _check(self, _: object, region: Region) -> None:
        if not region.additive:
            raise UsageError(
                "a mask says which coordinates of x may change, so it needs a set whose x̃ is x + δ: "
                f"{type(region).__name__} is none"
            )

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    def _restrict(self) -> Region:
        """The region within a box that is infinite where the mask is not 0 and has no width elsewhere."""
        may_change = self.mask.expand_as(self.like) != 0
        room = torch.zeros_like(self.like).masked_fill(may_change, torch.inf)
        return self.region.clip(-room, room)

    def violation(self, delta: Tensor) -> Tensor:
        return self._restrict().violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self._restrict().project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self._restrict().support(direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        return self._restrict().support_bound(direction)

    def members(self) -> Tensor | None:
        return self._restrict().members()

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The step of the region, restricted to the coordinates that may change.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        return self._restrict().ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self._restrict().sample(generator)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        return Masked(self.region.clip(lower, upper), self.mask)

    def scale(self, factor: Tensor | float) -> Masked:
        return Masked(self.region.scale(factor), self.mask)


@final
@attrs.frozen(eq=False)
class Transformed(Region):
    """{A u : u ∈ 𝒰} for an isometry A: a ball in another basis (colour space, cosine transform).

    ``forward`` is u ↦ A u and ``adjoint`` is δ ↦ Aᵀδ, both on (batch, *shape) and linear with AᵀA = AAᵀ = I; for
    any other map the projection would not be the nearest point, which the laws of `robustfw.testing` show.
    """

    region: Region
    forward: Callable[[Tensor], Tensor]
    """The map u ↦ A u."""
    adjoint: Callable[[Tensor], Tensor]
    """The adjoint map δ ↦ Aᵀδ."""

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    @property
    def additive(self) -> bool:
        return self.region.additive

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x + δ if the region adds; otherwise the region's `apply` at u = Aᵀδ."""
        if self.additive:
            return x + delta
        return self.region.apply(x, self.adjoint(delta))

    def violation(self, delta: Tensor) -> Tensor:
        return self.region.violation(self.adjoint(delta))

    def project(self, point: Tensor) -> Tensor:
        return self.forward(self.region.project(self.adjoint(point)))

    def support(self, direction: Tensor) -> Tensor:
        return self.forward(self.region.support(self.adjoint(direction)))

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.forward(self.region.sample(generator))

    def support_bound(self, direction: Tensor) -> Tensor:
        """The region's bound at Aᵀg and a margin for the rounding of the isometry, (batch,)."""
        inner_direction = self.adjoint(direction)
        rounding = (
            MARGIN
            * torch.finfo(inner_direction.dtype).eps
            * exact(inner_direction).flatten(1).abs()
        )
        farthest = exact(self.region.support(inner_direction)).flatten(1).abs()
        return self.region.support_bound(inner_direction) + norms(rounding) * norms(
            farthest
        )

    def members(self) -> Tensor | None:
        members = self.region.members()
        if members is None:
            return None
        transformed = [self.forward(member) for member in members.unbind(1)]
        return torch.stack(transformed, 1)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The image A s of the region's own step s in its basis.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        inner_step = self.region.ascent(
            self.adjoint(direction), self.adjoint(delta), step
        )
        return self.forward(inner_step)

    def scale(self, factor: Tensor | float) -> Transformed:
        """The image of the scaled region, since A(factor·u) = factor·Au."""
        return attrs.evolve(self, region=self.region.scale(factor))
