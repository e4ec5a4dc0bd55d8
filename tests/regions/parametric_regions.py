"""Regions of one parameter for each example, and images to change by it."""

from __future__ import annotations

import attrs
import torch

from robustfw.regions import (
    Box,
    Parametric,
    per_row,
)


@attrs.frozen(eq=False)
class Brightness(Parametric):
    """x·(1 + δ), one δ for each example."""

    def apply(self, x, delta):
        return x * (1 + per_row(delta[:, 0], x))


@attrs.frozen(eq=False)
class Shift(Parametric):
    """x + δ in every coordinate, one δ for each example."""

    def apply(self, x, delta):
        return x + per_row(delta[:, 0], x)


def gains(x, radius=0.5):
    return Box.broadcast(x.flatten(1)[:, :1], -radius, radius)


def images(count=6, dtype=torch.float64):
    return torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
