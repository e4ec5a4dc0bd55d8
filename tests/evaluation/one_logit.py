"""A net of one logit on two clouds of points, and its evaluation."""

from __future__ import annotations

import warnings

import torch
from torch import nn

import robustfw
from robustfw import RobustfwWarning, TensorSplit

SMALL = {"uncertainty": "linf:radius=0.05", "attack": "pgd:steps=5,random_start=false"}


def blobs(n=120, d=4):
    """Two clouds in [0, 1], with the normal of the plane between them."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    return (0.4 + 0.2 * y[:, None] + 0.08 * torch.randn(n, d, generator=generator)).clamp(0, 1), y


class OneLogit(nn.Module):
    """One logit, positive above the plane Σx = d/2; or the two logits 0 and that."""

    def __init__(self, d=4, two=False):
        super().__init__()
        self.layer, self.two = nn.Linear(d, 1), two
        nn.init.ones_(self.layer.weight)
        nn.init.constant_(self.layer.bias, -d / 2)

    def forward(self, x):
        z = 10 * self.layer(x)
        return torch.cat([torch.zeros_like(z), z], 1) if self.two else z


def evaluate(net, x, y, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RobustfwWarning)
        return robustfw.evaluate(net, TensorSplit(x, y), **(SMALL | more))


def counts(found):
    return found.n, found.correct, found.robust, found.per_class
