"""The box: bounds on each coordinate by itself."""

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

    def support_bound(self, direction: Tensor) -> Tensor:
        """Σ_j of g_j·upper_j where g_j > 0, g_j·lower_j where g_j < 0."""
        return exact_bound(direction, exact(self.support(direction)))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Each coordinate by its longer side, as far as there is room."""
        reach = step_per_row(step, delta) * torch.maximum(-self.lower, self.upper)
        return self.project(delta + reach * direction.sign()) - delta

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform."""
        return self.lower + (self.upper - self.lower) * uniform_like(self.lower, generator).to(self.lower.dtype)

    def within(self, lower: Bound, upper: Bound) -> Box:
        """The smaller box."""
        other = Box.around(self.like, lower, upper)
        return Box(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))
