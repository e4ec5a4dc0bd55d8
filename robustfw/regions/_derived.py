"""The regions behind the defaults of the interface: a scaled set, and a clamped x̃."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions._base import Bound, Region
from robustfw.regions._rows import norms, per_row, wide


def transformation(regions: Sequence[Region], combinator: str) -> Region | None:
    """The region whose `apply` a combination of regions takes over; None where all of them add δ to x.

    ``combinator`` names the combination in messages, such as "a sum".

    Raises:
        UsageError: two of the regions give different x̃ for one δ.
    """
    special = [region for region in regions if not region.additive]
    if not special:
        return None
    kinds = {type(_innermost(region)) for region in special}
    if len(kinds) > 1:
        class_names = {kind.__name__ for kind in kinds}
        names = " and ".join(sorted(class_names))
        raise UsageError(
            f"{combinator} cannot hold both {names}: they make different examples of one δ"
        )
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
    """The factor of each row, (batch, 1, …, 1)."""

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
        return self.region.apply(x, delta)

    def _divide(self, point: Tensor, factor: Tensor) -> Tensor:
        """point / factor, with 0 where the factor is 0."""
        safe_factor = factor.clamp(min=torch.finfo(factor.dtype).tiny)
        return torch.where(factor > 0, point / safe_factor, 0)

    def _multiply(self, member: Tensor) -> Tensor:
        """factor · member, with 0 where the factor is 0, also for a member that is not finite."""
        return torch.where(self.factor > 0, self.factor * member, 0)

    def violation(self, delta: Tensor) -> Tensor:
        """factor · violation(δ / factor), (batch,); ‖δ‖₂ where the factor is 0."""
        inner_delta = self._divide(delta, self.factor)
        factor = self.factor.flatten()
        violation = factor * self.region.violation(inner_delta)
        return torch.where(factor > 0, violation, norms(delta))

    def project(self, point: Tensor) -> Tensor:
        inner_point = self._divide(point, self.factor)
        nearest = self.region.project(inner_point)
        return self._multiply(nearest)

    def support(self, direction: Tensor) -> Tensor:
        farthest = self.region.support(direction)
        return self._multiply(farthest)

    def support_bound(self, direction: Tensor) -> Tensor:
        bound = self.region.support_bound(direction)
        factor = self.factor.flatten()
        return torch.where(factor > 0, factor.to(bound) * bound, 0)

    def members(self) -> Tensor | None:
        members = self.region.members()
        if members is None:
            return None
        return self.factor[:, None] * members

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """factor times the step of the inner region at δ / factor.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        inner_delta = self._divide(delta, self.factor)
        inner_step = self.region.ascent(direction, inner_delta, step)
        return self._multiply(inner_step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self._multiply(self.region.sample(generator))

    def scale(self, factor: Tensor | float) -> Scaled:
        """The inner region scaled by the product of both factors, so that factors do not nest."""
        product = self.factor * per_row(factor, self.factor)
        return Scaled(self.region, product)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """f·𝒰 ∩ [l, u] = f·(𝒰 ∩ [l/f, u/f]), as exact as the inner region's `clip`; x̃ clamped if it is not x + δ."""
        if not self.additive:
            return Clipped(self, lower, upper)
        # in float32 at least: 1 − x rounds in half precision, and a quotient may overflow there
        factor = self.factor.to(wide(self.like.dtype))
        low = torch.as_tensor(lower, dtype=factor.dtype, device=factor.device)
        high = torch.as_tensor(upper, dtype=factor.dtype, device=factor.device)
        inner_low = self._divide(low, factor)
        inner_high = self._divide(high, factor)
        # where the factor is 0 only 0 is a member, whatever the range
        inner_low = torch.where(factor > 0, inner_low, -torch.inf)
        inner_high = torch.where(factor > 0, inner_high, torch.inf)
        clipped = self.region.clip(inner_low, inner_high)
        return Scaled(clipped, self.factor)


@final
@attrs.frozen(eq=False)
class Clipped(Region):
    """A region whose x̃ is not x + δ, with x̃ clamped: x + lower ≤ x̃ ≤ x + upper. Its perturbations stay as they are."""

    region: Region
    lower: Bound = attrs.field()
    upper: Bound = attrs.field()

    @lower.validator
    @upper.validator
    def _check(self, field: attrs.Attribute[Bound], bound: Bound) -> None:
        if not isinstance(bound, Tensor):
            return
        if not bound.dim() or len(bound) != len(self.region):
            raise UsageError(
                f"{field.name} must be a number or have a row for each example, not {tuple(bound.shape)}"
            )

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.region.like

    @property
    def convex(self) -> bool:
        return self.region.convex

    @property
    def additive(self) -> bool:
        return False

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ of the region, clamped; where it keeps the bounds, it is returned exactly."""
        wide_x = x.to(wide(x.dtype))
        low = wide_x + self.lower
        high = wide_x + self.upper
        perturbed = self.region.apply(x, delta).to(low.dtype)
        return perturbed.clamp(low, high).to(x.dtype)

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
        """The step of the inner region.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        return self.region.ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.region.sample(generator)

    def scale(self, factor: Tensor | float) -> Clipped:
        """The region with its perturbations scaled; the bounds on x̃ stay."""
        scaled = self.region.scale(factor)
        return Clipped(scaled, self.lower, self.upper)

    def clip(self, lower: Bound, upper: Bound) -> Clipped:
        """The region with the tighter of both pairs of bounds on x̃."""
        low = _tighten(self.lower, lower, torch.maximum)
        high = _tighten(self.upper, upper, torch.minimum)
        return Clipped(self.region, low, high)


def _tighten(
    one: Bound, other: Bound, choose: Callable[[Tensor, Tensor], Tensor]
) -> Bound:
    """The maximum or minimum of two bounds; a number where both are numbers."""
    if isinstance(one, Tensor):
        like = one
    elif isinstance(other, Tensor):
        like = other
    else:
        first = torch.tensor(float(one))
        second = torch.tensor(float(other))
        return float(choose(first, second))
    first = torch.as_tensor(one, dtype=like.dtype, device=like.device)
    second = torch.as_tensor(other, dtype=like.dtype, device=like.device)
    return choose(first, second)
