"""Audits by hand: nets and attacks on one pixel, class 0 while it is above 1/2."""

from __future__ import annotations

import attrs
import torch
from torch import nn

import robustfw
from robustfw import Attack, TensorSplit, losses
from robustfw.evaluation._audit import Attacks, audit
from robustfw.inner.threat import Threat


def failed_lines(result):
    return {line.name for line in result.failed}


def find_line(result, name):
    (line,) = (line for line in result.lines if line.name == name)
    return line


class Around(nn.Module):
    """A net with something before and after it."""

    def __init__(self, net, before=nn.Identity(), after=nn.Identity()):  # noqa: B008
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


class OneNumber(nn.Module):
    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.5
        return torch.stack([margin, torch.zeros_like(margin)], 1)


PIXELS = torch.linspace(0.62, 0.68, 10)
SPLIT = TensorSplit(PIXELS.reshape(-1, 1), torch.zeros(10).long())


@attrs.frozen
class Share(Attack):
    """Goes down by a share of the way that there is, at most ``most``; the margin loss may have a share of its own."""

    share: float = 1.0
    most: float = 10.0
    by_margin: float | None = None

    def maximize(self, problem, generator):
        share = self.share if self.by_margin is None or problem.loss is not losses.margin else self.by_margin
        return (share * problem.region.support(-torch.ones_like(problem.x))).clamp(min=-self.most)


HALF = Share(0.5)
"""Within radius 0.2 it leaves all pixels above 1/2; within 0.4 none."""


def audit_pixel(net=None, split=SPLIT, spec="linf:radius=0.2", transfer=(), bounds=(0.0, 1.0), **attacks):
    """The list with attacks that all do the same, unless others are given."""
    sets = robustfw.make("uncertainty", spec)
    made = Attacks(**(dict.fromkeys(("many", "one", "double", "restarts", "noise"), HALF) | attacks))
    return audit(net or OneNumber(), split, threat=Threat(sets, bounds), attacks=made, transfer=transfer)
