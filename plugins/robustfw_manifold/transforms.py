"""Tangent vectors of an image under small changes of its form (Simard et al. 1998)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Coordinates (right, down) of pixels from the centre, in half image sizes, to the velocities that move them."""

FIELDS: dict[str, Field] = {
    "horizontal": lambda a, b: (torch.ones_like(a), torch.zeros_like(b)),
    "vertical": lambda a, b: (torch.zeros_like(a), torch.ones_like(b)),
    "rotation": lambda a, b: (-b, a),
    "scaling": lambda a, b: (a, b),
    "stretch": lambda a, b: (a, -b),
    "shear": lambda a, b: (b, a),
}
"""The velocity field of each move of the pixels."""
THICKNESS = "thickness"
"""The change of an image that makes its strokes thicker."""


def tangents(x: Tensor, moves: Sequence[str], step: float) -> Tensor:
    """∂/∂s of each change s of the images x, (batch, moves, *shape).

    Moves are central differences (x∘(p + hv) − x∘(p − hv)) / 2h with linear interpolation; the thickness of strokes is
    half the difference of dilation and erosion by one pixel.

    Args:
        x: images, (batch, channels, height, width).
        moves: names of the changes, keys of `FIELDS` or "thickness".
        step: h, in pixels.
    """
    vectors = []
    for move in moves:
        if move == THICKNESS:
            vectors.append(_thickness_tangent(x))
        else:
            vectors.append(_move_tangent(x, FIELDS[move], step))
    return torch.stack(vectors, 1)


def _move_tangent(x: Tensor, field: Field, step: float) -> Tensor:
    """The central difference of images moved along a velocity field."""
    height, width = x.shape[2:]
    # 1. the velocity of each pixel
    last_row = height - 1
    last_column = width - 1
    rows = torch.arange(height, dtype=x.dtype, device=x.device) - last_row / 2
    columns = torch.arange(width, dtype=x.dtype, device=x.device) - last_column / 2
    down, right = torch.meshgrid(rows, columns, indexing="ij")
    half = max(last_row, last_column, 1) / 2
    velocity_right, velocity_down = field(right / half, down / half)

    # 2. the images moved to and fro, by interpolation in torch's coordinates from −1 to 1
    def move_by(h: float) -> Tensor:
        grid_x = (right + h * velocity_right) / max(last_column, 1)
        grid_y = (down + h * velocity_down) / max(last_row, 1)
        places = torch.stack((grid_x, grid_y), 2)
        grid = 2 * places.expand(len(x), -1, -1, -1)
        return grid_sample(
            x, grid, mode="bilinear", padding_mode="border", align_corners=True
        )

    difference = move_by(step) - move_by(-step)
    return difference / (2 * step)


def _thickness_tangent(x: Tensor) -> Tensor:
    """Half the difference of dilation and erosion by one pixel."""
    dilated = max_pool2d(x, 3, stride=1, padding=1)
    negative_eroded = max_pool2d(-x, 3, stride=1, padding=1)
    return (dilated + negative_eroded) / 2
