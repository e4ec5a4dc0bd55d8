"""Small trainings on 96 points of six coordinates, and an objective that notes what reaches it."""

from __future__ import annotations

import attrs
import torch

import robustfw
from robustfw import (
    Attack,
    DataSpec,
    Objective,
    Splits,
    TensorSplit,
)

FAST = {"attack": "single-step", "uncertainty": "linf:radius=0.05", "epochs": 2, "batch_size": 16}


def examples(n=96, d=6, meta=None):
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(n) % 2
    x = (0.5 + 0.1 * torch.randn(n, d, generator=generator) + 0.2 * (y[:, None] - 0.5)).clamp(0, 1)
    return TensorSplit(x, y, meta or {})


def splits_of(train=None, n=80, **more):
    whole = examples(**more)
    train = train or whole.subset(torch.arange(n))
    return Splits(train, whole.subset(torch.arange(80, 96)), whole.first(8), DataSpec((6,), 2))


def train(splits=None, model="mlp:hidden=[8]", steps=False, **options):
    return list(robustfw.train(dataset=splits or splits_of(), model=model, steps=steps, **(FAST | options)))


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@attrs.define
class Watching(Objective):
    """The loss at worst cases; notes what it is given."""

    seen: list = attrs.field(factory=list, init=False, eq=False)

    def __call__(self, model, x, y, batch):
        self.seen.append((batch.epoch, batch.progress, dict(batch.meta), x.clone(), y.clone()))
        return batch.loss(model(batch()))


@attrs.define
class Noting(Attack):
    """One step; notes what is known of the rows."""

    seen: list = attrs.field(factory=list, init=False, eq=False)

    def maximize(self, problem, generator):
        self.seen.append(dict(problem.meta))
        return problem.region.support(problem.linearize()[1])
