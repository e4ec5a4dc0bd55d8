"""Norm balls within the data range [0, 1], around columns of numbers."""

from __future__ import annotations

import torch

from ..perturbations import at


def boxed(spec, x):
    return at(spec, x).clip(0 - x, 1 - x)


def column(*numbers, dtype=torch.float64):
    return torch.tensor([numbers], dtype=dtype)
