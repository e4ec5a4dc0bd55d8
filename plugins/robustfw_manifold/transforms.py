"""Tangent vectors of an image under small changes of its form (Simard et al. 1998)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Coordinates of a pixel from the centre, in half image sizes, to the velocity that moves it."""

FIELDS: dict[str, Field] = {
    "horizontal": lambda a, b: (torch.ones_like(a), torch.zeros_like(b)),
    "vertical": lambda a, b: (torch.zeros_like(a), torch.ones_like(b)),
    "rotation": lambda a, b: (-b, a),
    "scaling": lambda a, b: (a, b),
    "stretch": lambda a, b: (a, -b),
    "shear": lambda a, b: (b, a),
}
THICKNESS = "thickness"
MOVES = (*FIELDS, THICKNESS)


def tangents(x: Tensor, moves: Sequence[str], step: float) -> Tensor:
    """∂/∂s of each change s of the images x (batch, channels, height, width), (batch, moves, *shape).

    Central differences (x∘(p + hv) − x∘(p − hv)) / 2h with linear interpolation, h = ``step`` pixels; for the
    thickness of strokes, half the difference of dilation and erosion by one pixel.
    """
    return torch.stack([_thickened(x) if move == THICKNESS else _moved(x, FIELDS[move], step) for move in moves], 1)


def _moved(x: Tensor, field: Field, step: float) -> Tensor:
    height, width = x.shape[2:]
    half = max(height - 1, width - 1, 1) / 2
    rows, columns = (torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2 for n in (height, width))
    down, right = torch.meshgrid(rows, columns, indexing="ij")
    by_right, by_down = field(right / half, down / half)

    def sampled(h: float) -> Tensor:
        places = ((right + h * by_right) / max(width - 1, 1), (down + h * by_down) / max(height - 1, 1))
        grid = 2 * torch.stack(places, 2).expand(len(x), -1, -1, -1)
        return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)

    return (sampled(step) - sampled(-step)) / (2 * step)


def _thickened(x: Tensor) -> Tensor:
    return (max_pool2d(x, 3, stride=1, padding=1) + max_pool2d(-x, 3, stride=1, padding=1)) / 2
