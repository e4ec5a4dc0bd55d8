"""As many random examples as fit into a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw.evaluation import Verdicts, _within, verdicts, verdicts_within
from robustfw.inner.threat import Threat


class Clock:
    """A clock that a net moves on: no test waits, and none depends on the machine."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_within, "time", clock)
    return clock


class Slow(nn.Module):
    """A linear classifier that takes a while for each example."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.seconds = seconds
        self.clock = clock

    def forward(self, x):
        self.clock.now += self.seconds * len(x)
        return self.layer(x)


@pytest.fixture
def split():
    torch.manual_seed(0)
    return robustfw.TensorSplit(torch.rand(200, 6), torch.arange(200) % 3)


def within(seconds, net, split, **options):
    parts = {
        "threat": Threat(robustfw.make("uncertainty", "linf:radius=0.1")),
        "attacks": [robustfw.make("attack", "single-step")],
        "batch_size": 64,
        "seed": 0,
    }
    return list(verdicts_within(net.clock.now + seconds, net, split, **parts | options))


def test_all_examples_where_there_is_time_and_each_once(split, clock):
    net = Slow(1e-9, clock)
    parts = within(60, net, split)
    assert sum(map(len, parts)) == len(split)
    sizes = [len(part) for part in parts]
    assert sizes[:3] == [4, 16, 64], "batches grow"
    assert max(sizes) == 64, "and are no larger than was asked for"
    whole = Verdicts.concatenate(
        verdicts(
            net,
            split,
            threat=Threat(robustfw.make("uncertainty", "linf:radius=0.1")),
            attacks=[robustfw.make("attack", "single-step")],
        )
    )
    together = Verdicts.concatenate(parts)
    assert int(together.clean.sum()) == int(whole.clean.sum())
    assert int(together.robust.sum()) == int(whole.robust.sum()), "the attack is deterministic, whatever the batches"


def test_a_few_where_there_is_none_and_they_are_drawn_from_all_classes(split, clock):
    sorted_split = split.subset(split.y.argsort())
    (part,) = within(0, Slow(1e-9, clock), sorted_split)
    assert len(part) == 4, "one batch is always measured"
    many = Verdicts.concatenate(within(0.3, Slow(0.001, clock), sorted_split))
    assert 4 < len(many) < len(split)
    assert set(many.y.tolist()) == {0, 1, 2}, "the first examples alone would all be of class 0"


def test_the_pace_decides(split, clock):
    fast = sum(map(len, within(0.5, Slow(0.001, clock), split)))
    slow = sum(map(len, within(0.5, Slow(0.01, clock), split)))
    assert slow < fast


def test_a_split_that_is_smaller_than_the_first_batch(split, clock):
    assert sum(map(len, within(60, Slow(1e-9, clock), split.first(3)))) == 3


def test_a_batch_that_would_not_fit_is_not_begun(split, clock):
    seconds = 5 * 4 * 2.1  # the attack goes forward twice; five batches of four examples, and a tenth of one
    parts = within(seconds, Slow(1.0, clock), split)
    assert clock.now <= seconds
    assert sum(map(len, parts)) >= 8, "and the time is used"
