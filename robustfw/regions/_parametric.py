"""Sets of parameters: δ is an angle, a shift or a gain, and a subclass's `apply` computes x̃ from it."""

from __future__ import annotations

from abc import abstractmethod

import attrs
import torch
from torch import Tensor

from robustfw.regions._base import Bound, Region
from robustfw.regions._derived import Clipped


@attrs.frozen(eq=False)
class Parametric(Region):
    """{δ ∈ parameters}, with x̃ = apply(x, δ): δ has the shape of the parameters, (batch, *shape of its own).

    A subclass only has to define `apply`. ``parameters`` is any region: a `Box` around a tensor of the parameters'
    shape, (batch, 1) for a single one, a norm ball, an intersection. All oracles are those of ``parameters``. With a
    data range the parameters stay as they are and x̃ is clamped to the range, which is the `clip` of every set whose
    x̃ is not x + δ; a subclass that knows which parameters keep the range overrides it.
    """

    parameters: Region
    """The region of the parameters δ."""

    @abstractmethod
    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃ for parameters δ, of the shape and type of x, differentiable in δ; apply(x, 0) = x."""

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.parameters.like

    @property
    def convex(self) -> bool:
        return self.parameters.convex

    @property
    def additive(self) -> bool:
        return False

    def violation(self, delta: Tensor) -> Tensor:
        return self.parameters.violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self.parameters.project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self.parameters.support(direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        return self.parameters.support_bound(direction)

    def members(self) -> Tensor | None:
        return self.parameters.members()

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """The step of the region of the parameters.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        return self.parameters.ascent(direction, delta, step)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.parameters.sample(generator)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """The region with unchanged parameters and x̃ clamped to x + lower ≤ x̃ ≤ x + upper."""
        return Clipped(self, lower, upper)

    def scale(self, factor: Tensor | float) -> Region:
        """The region with its set of parameters scaled by the factor."""
        return attrs.evolve(self, parameters=self.parameters.scale(factor))
