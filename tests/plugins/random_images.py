"""Images and directions at random, all from one generator."""

from __future__ import annotations

import torch

GENERATOR = torch.Generator().manual_seed(0)


def images(count=6, shape=(3, 4, 4)):
    return torch.rand(count, *shape, generator=GENERATOR, dtype=torch.float64)


def directions(x):
    return torch.randn(x.shape, generator=GENERATOR, dtype=torch.float64)
