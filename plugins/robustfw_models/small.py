"""A small net by a function, for `Python` without options: an example of what it calls."""

from __future__ import annotations

import math

from torch import nn

from robustfw import DataSpec


def build(spec: DataSpec, width: int = 32) -> nn.Module:
    """Two linear layers with a ReLU between, on the flattened example.

    Args:
        spec: the data's spec, which `Python` gives.
        width: units between the layers.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(spec.shape), width),
        nn.ReLU(),
        nn.Linear(width, spec.outputs),
    )
