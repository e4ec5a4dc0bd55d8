"""c(x) in [0, 1]: how much a change would show at each place of x, (batch, channels, *places) or (batch, places)."""

from __future__ import annotations

import torch
from torch import Tensor


def flatness(x: Tensor) -> Tensor:
    """1 − (max − min) over j and its neighbours along each axis, the diagonal ones too; channels do not mix."""
    highest, lowest = x.detach(), -x.detach()
    for axis in _axes(x):
        highest, lowest = _max_around(highest, axis), _max_around(lowest, axis)
    return (1 - (highest + lowest)).clamp(0, 1)


def closeness_to_edge(x: Tensor) -> Tensor:
    """0 in the middle, 1 at the edge, linear between: the largest of the relative distances from the middle."""
    closeness = torch.zeros_like(x)
    for axis in _axes(x):
        half = (x.shape[axis] - 1) / 2
        if half > 0:
            distance = (
                torch.arange(x.shape[axis], dtype=x.dtype, device=x.device) - half
            ).abs() / half
            closeness = torch.maximum(
                closeness, distance.reshape(-1, *[1] * (x.dim() - axis - 1))
            )
    return closeness


def _axes(x: Tensor) -> range:
    return range(min(2, x.dim() - 1), x.dim())


def _max_around(x: Tensor, axis: int) -> Tensor:
    """max(x_{j−1}, x_j, x_{j+1}) along an axis."""
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
    return torch.maximum(x, torch.maximum(before, after))
