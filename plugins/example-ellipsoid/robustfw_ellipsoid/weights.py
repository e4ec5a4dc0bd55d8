"""c(x) in [0, 1]: how much a change would show at each place of x, (batch, channels, *places) or (batch, places)."""

from __future__ import annotations

import torch
from torch import Tensor


def flatness(x: Tensor) -> Tensor:
    """1 − (max − min) over j and its neighbours along each axis, the diagonal ones too; channels do not mix."""
    highest = x.detach()
    negated_lowest = -x.detach()
    for axis in _axes(x):
        highest = _max_around(highest, axis)
        negated_lowest = _max_around(negated_lowest, axis)
    contrast = highest + negated_lowest
    return (1 - contrast).clamp(0, 1)


def closeness_to_edge(x: Tensor) -> Tensor:
    """0 in the middle, 1 at the edge, linear between: the largest of the relative distances from the middle."""
    closeness = torch.zeros_like(x)
    for axis in _axes(x):
        size = x.shape[axis]
        half = (size - 1) / 2
        if half > 0:
            places = torch.arange(size, dtype=x.dtype, device=x.device)
            distance = (places - half).abs() / half
            later_axes = x.dim() - axis - 1
            distance = distance.reshape(-1, *[1] * later_axes)
            closeness = torch.maximum(closeness, distance)
    return closeness


def _axes(x: Tensor) -> range:
    """The axes of places: all from the third on, or the last one of (batch, places)."""
    first = min(2, x.dim() - 1)
    return range(first, x.dim())


def _max_around(x: Tensor, axis: int) -> Tensor:
    """max(x_{j−1}, x_j, x_{j+1}) along an axis."""
    size = x.shape[axis]
    # at an edge, the edge is its own neighbour
    first = x.narrow(axis, 0, 1)
    last = x.narrow(axis, size - 1, 1)
    before = torch.cat([first, x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), last], axis)
    neighbours = torch.maximum(before, after)
    return torch.maximum(x, neighbours)
