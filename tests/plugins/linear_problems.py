"""Inner problems of linear nets, and specs of every attack."""

from __future__ import annotations

import torch
from torch import nn

import robustfw
from robustfw import losses
from robustfw.inner.problem import InnerProblem

from .maximizing import maximize

CLIMBING = [
    "single-step",
    "pgd",
    "pgd:direction=gradient",
    "pgd:momentum=0.9",
    "pgd:direction=gradient,momentum=0.9",
    "apgd:steps=20",
    "frank-wolfe",
    "restarts:n=2",
    "strongest",
]
NEAREST = ["lbfgs", "lbfgs:target=best", "cw", "deepfool", "deepfool:norm=linf"]
TARGETED = ["targeted", "targeted:target=least-likely", "targeted:target=best", "targeted:attack=deepfool,target=best"]
EVERY = [*CLIMBING, *NEAREST, *TARGETED, "random"]


def linear_net(classes, seed=0, features=6, scale=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(features, classes, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(classes, features, generator=generator))
        layer.bias.copy_(scale * 0.3 * torch.randn(classes, generator=generator))
    return layer.requires_grad_(False)


def images(rows=48, features=6, dtype=torch.float32):
    return torch.rand(rows, features, generator=torch.Generator().manual_seed(1), dtype=dtype)


def problem(forward, x, y, spec="l2:radius=0.3", criterion=losses.misclassified, loss=losses.cross_entropy):
    return InnerProblem(forward, loss, x, y, robustfw.make("uncertainty", spec).at(x), criterion)


def solved_rows(attack, p):
    return p.value(maximize(attack, p)).isposinf()
