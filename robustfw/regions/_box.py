"""The box: a lower and an upper bound on each coordinate."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions._base import Bound, Region, exact_bound
from robustfw.regions._rows import exact, step_per_row, uniform_like


@final
@attrs.frozen(eq=False)
class Box(Region):
    """{δ : lower ≤ δ ≤ upper} with lower ≤ 0 ≤ upper."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def broadcast(cls, like: Tensor, lower: Bound, upper: Bound) -> Box:
        """The box whose bounds, numbers or tensors, broadcast to ``like``.

        Args:
            like: a tensor of the shape, dtype and device of δ.
            lower: lower bound ≤ 0.
            upper: upper bound ≥ 0.
        """
        low = torch.as_tensor(lower, dtype=like.dtype, device=like.device)
        high = torch.as_tensor(upper, dtype=like.dtype, device=like.device)
        return cls(low.expand_as(like), high.expand_as(like))

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.lower

    def violation(self, delta: Tensor) -> Tensor:
        """The largest of lower − δ, δ − upper and 0 over the coordinates, (batch,)."""
        beyond = torch.maximum(self.lower - delta, delta - self.upper)
        return beyond.flatten(1).amax(1).clamp(min=0)

    def project(self, point: Tensor) -> Tensor:
        """The nearest member: each coordinate clamped to its bounds."""
        return point.clamp(self.lower, self.upper)

    def support(self, direction: Tensor) -> Tensor:
        """The corner to which the direction points, with 0 for coordinates in which it vanishes."""
        corner = torch.where(direction > 0, self.upper, self.lower)
        return torch.where(direction == 0, torch.zeros_like(corner), corner)

    def support_bound(self, direction: Tensor) -> Tensor:
        """Σ_j max(g_j·lower_j, g_j·upper_j) and a margin for rounding, (batch,), in float64."""
        return exact_bound(direction, exact(self.support(direction)))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Move each coordinate by ``step`` times its longer side along the sign, as far as there is room.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        longer_side = torch.maximum(-self.lower, self.upper)
        reach = step_per_row(step, delta) * longer_side
        goal = delta + reach * direction.sign()
        return self.project(goal) - delta

    def sample(self, generator: torch.Generator) -> Tensor:
        """Members drawn uniformly from the box."""
        share = uniform_like(self.lower, generator).to(self.lower.dtype)
        return self.lower + (self.upper - self.lower) * share

    def clip(self, lower: Bound, upper: Bound) -> Box:
        """The intersection with the box {lower ≤ δ ≤ upper}."""
        other = Box.broadcast(self.like, lower, upper)
        return Box(
            torch.maximum(self.lower, other.lower),
            torch.minimum(self.upper, other.upper),
        )
