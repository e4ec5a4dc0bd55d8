"""Rotations and translations (Engstrom et al. 2019): δ is three numbers, and x̃ the image that they make of x."""

from __future__ import annotations

import math
from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from robustfw import Region, UncertaintySet, UsageError, hookimpl
from robustfw.regions import Bound, Box, per_row, wide


@attrs.frozen
class Rotation(UncertaintySet):
    """{turned by up to an angle, shifted by up to a share of the size}: δ = (angle in radians, two shifts)."""

    degrees: Annotated[float, "largest angle, in degrees"] = attrs.field(default=15.0, validator=ge(0))
    shift: Annotated[float, "largest shift, as a share of the image's size"] = attrs.field(default=0.1, validator=ge(0))

    def at(self, x: Tensor) -> Region:
        if x.dim() != 4:
            raise UsageError(f"a rotation needs images (channels, height, width), not x of shape {tuple(x.shape[1:])}")
        reach = x.new_tensor([math.radians(self.degrees), self.shift, self.shift]).expand(len(x), 3)
        return Turned(Box(-reach, reach))


@attrs.frozen(eq=False)
class Turned(Region):
    """Three numbers in a box, and what they do to an image."""

    numbers: Box

    @property
    def like(self) -> Tensor:
        return self.numbers.like

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x turned and shifted, bilinear; beyond its border it is as at the border."""
        if not len(x):
            return x
        angle, right, down = delta.to(wide(delta.dtype)).unbind(1)
        ratio = x.shape[2] / x.shape[3]
        rows = (
            torch.stack([angle.cos(), -angle.sin() * ratio, 2 * right], 1),
            torch.stack([angle.sin() / ratio, angle.cos(), 2 * down], 1),
        )
        where = affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        return grid_sample(x.to(where), where, padding_mode="border", align_corners=False).to(x.dtype)

    def clip(self, lower: Bound, upper: Bound) -> Region:
        """Itself: each new value is a mean of the channel's own, so that no range of the data is left."""
        return self

    def scale(self, factor: Tensor | float) -> Region:
        """Smaller angles and shifts."""
        share = per_row(factor, self.like)
        return Turned(Box(share * self.numbers.lower, share * self.numbers.upper))

    def violation(self, delta: Tensor) -> Tensor:
        return self.numbers.violation(delta)

    def project(self, point: Tensor) -> Tensor:
        return self.numbers.project(point)

    def support(self, direction: Tensor) -> Tensor:
        return self.numbers.support(direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.numbers.sample(generator)


@hookimpl
def robustfw_register(add):
    add("rotation", Rotation)
