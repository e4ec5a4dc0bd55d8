"""Rotations and translations of images: three parameters for each example."""

from __future__ import annotations

import math
from typing import final

import attrs
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from robustfw import UsageError
from robustfw.regions import Box, Parametric, wide


@final
@attrs.frozen(eq=False)
class RigidMotions(Parametric):
    """{(α, s, t)}: δ of (batch, 3) is angle, shift right and shift down, each as a share of its largest value."""

    angle: float
    """Largest angle, in degrees, counter-clockwise."""
    shift: float
    """Largest shift, in pixels."""
    padding: str
    """Values beyond the edges: "zeros", "border" or "reflection"."""

    @classmethod
    def at(cls, x: Tensor, angle: float, shift: float, padding: str) -> RigidMotions:
        """The motions of all images of x; a parameter whose largest value is 0 stays 0.

        Args:
            x: images (batch, channels, height, width).
            angle: largest angle, in degrees.
            shift: largest shift, in pixels.
            padding: values beyond the edges, as of ``torch.nn.functional.grid_sample``.

        Raises:
            UsageError: x are no images.
        """
        if x.dim() != 4:
            raise UsageError(
                f"a rotation needs images (channels, height, width), not x of shape {tuple(x.shape[1:])}"
            )
        turns = float(angle > 0)
        shifts = float(shift > 0)
        reach = x.new_tensor([turns, shifts, shifts]).expand(len(x), 3)
        return cls(Box.broadcast(reach, -reach, reach), angle, shift, padding)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x turned about its middle and then shifted, with bilinear interpolation in float32 at least."""
        if not len(x):
            # affine_grid takes no empty batch
            return x
        image = x.to(wide(x.dtype))
        motion = delta.to(image)
        height, width = x.shape[2:]
        angle = math.radians(self.angle) * motion[:, 0]
        cosine = angle.cos()
        sine = angle.sin()
        # grid_sample takes the place from which each pixel comes, in units in which an axis runs from −1 to 1
        right = 2 * self.shift * motion[:, 1] / width
        down = 2 * self.shift * motion[:, 2] / height
        ratio = height / width
        # the inverse of a turn and a shift, as a 2 x 3 matrix
        shift_right = -(cosine * right - sine * ratio * down)
        shift_down = -(sine / ratio * right + cosine * down)
        first_row = torch.stack([cosine, -sine * ratio, shift_right], 1)
        second_row = torch.stack([sine / ratio, cosine, shift_down], 1)
        matrix = torch.stack([first_row, second_row], 1)
        grid = affine_grid(matrix, list(x.shape), align_corners=False)
        perturbed = grid_sample(
            image, grid, padding_mode=self.padding, align_corners=False
        )
        return perturbed.to(x.dtype)
