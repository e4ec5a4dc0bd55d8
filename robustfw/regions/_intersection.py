"""The intersection of convex regions, by iterated projections."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import Bound, Region
from robustfw.regions._box import Box
from robustfw.regions._derived import Clipped, transformation
from robustfw.regions._rows import norms, per_row, wide, with_unit_maximum
from robustfw.regions._splitting import PUSH_COMMON, common_point


@final
@attrs.frozen(eq=False)
class Intersection(Region):
    """𝒰₁ ∩ … ∩ 𝒰ₘ of convex regions, from their projections alone (see `common_point`).

    Results of `project` and `support` are members of the last 𝒰ᵢ; their violation of the others, and their distance to
    the exact answer, are about ``accuracy`` relative to the size of the set. For linear inequalities `Polyhedron` is
    faster and more exact.

    A region whose x̃ is not x + δ gives its `apply` to the intersection; the others then restrict its parameters.
    """

    regions: tuple[Region, ...] = attrs.field()
    accuracy: float = 1e-8
    """Accuracy of projections and supports, relative to the size of the set."""
    rounds: int = 5000
    """Largest number of rounds; reaching it gives a warning that says how far rows still moved."""

    @regions.validator
    def _check(self, _: object, regions: tuple[Region, ...]) -> None:
        if not all(region.convex for region in regions):
            raise UsageError(
                "an intersection needs convex regions: intersect the members of a union one by one, "
                "or give a set that is not convex an exact `clip` of its own"
            )
        transformation(regions, "an intersection")

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.regions[0].like

    @property
    def additive(self) -> bool:
        return all(region.additive for region in self.regions)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ by the `apply` of the region that has one of its own; otherwise x + δ."""
        special = transformation(self.regions, "an intersection")
        if special is None:
            return x + delta
        return special.apply(x, delta)

    def violation(self, delta: Tensor) -> Tensor:
        """The largest violation of one of the sets, (batch,)."""
        return torch.stack([region.violation(delta) for region in self.regions]).amax(0)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point of the intersection; members are returned as they are."""
        outside = self.violation(point) > 0
        projected = point.clone()
        if outside.any():
            far = point[outside].to(wide(point.dtype))
            part = self[outside]
            size = self._size(point)[outside].to(far)
            # far points are pulled no harder than those at a few sizes of the set
            pull = (PUSH_COMMON * size / norms(far)).clamp(max=1)
            weight = per_row(pull, far)
            nearest = part._common_point(weight * far, weight, size)
            projected[outside] = nearest.to(point.dtype)
        return projected

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point in the direction; 0 where the direction vanishes."""
        direction = with_unit_maximum(direction)
        nonzero = norms(direction) > 0
        farthest = torch.zeros_like(direction)
        if nonzero.any():
            unit = direction[nonzero].to(wide(direction.dtype))
            part = self[nonzero]
            size = self._size(direction)[nonzero].to(unit)
            push = per_row(PUSH_COMMON * size / norms(unit), unit)
            no_weight = torch.zeros_like(push)
            farthest[nonzero] = part._common_point(push * unit, no_weight, size).to(
                direction.dtype
            )
        return farthest

    def support_bound(self, direction: Tensor) -> Tensor:
        """The smallest bound of one of the sets, (batch,): a bound for one set holds for the intersection."""
        bounds = []
        for region in self.regions:
            if has_support_bound(region):
                bounds.append(region.support_bound(direction))
        if not bounds:
            return super().support_bound(direction)
        return torch.stack(bounds).amin(0)

    def _size(self, direction: Tensor) -> Tensor:
        """The smallest reach ‖support(direction)‖₂ of one of the sets, (batch,)."""
        reach = torch.stack(
            [norms(region.support(direction)) for region in self.regions]
        ).amin(0)
        return reach.clamp(min=torch.finfo(reach.dtype).tiny)

    def _common_point(self, drive: Tensor, weight: Tensor, size: Tensor) -> Tensor:
        """`common_point` of these sets with this accuracy."""
        return common_point(
            self.regions,
            drive=drive,
            weight=weight,
            size=size,
            accuracy=self.accuracy,
            rounds=self.rounds,
        )

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """The intersection with one more set, the box; a clamped x̃ where it is not x + δ."""
        if not self.additive:
            return Clipped(self, lower, upper)
        box = Box.broadcast(self.like, lower, upper)
        return attrs.evolve(self, regions=(*self.regions, box))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The step of the first set; the others take effect when the caller projects.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        return self.regions[0].ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random member of the first set, projected on the intersection."""
        return self.project(self.regions[0].sample(generator))


def has_support_bound(region: Region) -> bool:
    """Whether the region has a proven bound on its support, which its first row tells."""
    try:
        region[:1].support_bound(region.like[:1])
    except UsageError:
        return False
    return True
