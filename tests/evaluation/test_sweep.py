"""Sweeps: monotone by construction, and right where the smallest radius is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustfw
from robustfw import TensorSplit, UsageError
from robustfw.evaluation import Fooled, Sweep, sweep, wilson
from robustfw.inner.threat import Threat

FACTORS = [0.0, 0.5, 1.0, 1.5, 2.0]
VALUES = [0.4, 0.52, 0.553, 0.61, 0.66, 0.75, 0.99]


class OneNumber(nn.Module):
    """Class 0 while the first pixel is above 1/2."""

    def forward(self, x):
        margin = x.flatten(1)[:, 0] - 0.5
        return torch.stack([margin, torch.zeros_like(margin)], 1)


class Island(nn.Module):
    """Wrong only at a distance of about 0.1: a step of 0.2 jumps over it."""

    def forward(self, x):
        away = (x.flatten(1)[:, 0] - 0.5).abs()
        return torch.stack([(away - 0.1).abs() - 0.04 + 0 * away, torch.zeros_like(away)], 1)


def swept(model, values, attack="single-step", spec="linf:radius=0.1", factors=FACTORS, **more):
    split = TensorSplit(torch.tensor(values).reshape(-1, 1), torch.zeros(len(values)).long())
    parts = sweep(
        model, split, threat=Threat(robustfw.make("uncertainty", spec)), attack=robustfw.make("attack", attack),
        factors=factors, batch_size=3, **more,
    )  # fmt: skip
    return Fooled.concatenate(parts)


@pytest.mark.parametrize("spec", ["linf:radius=0.1", "l2:radius=0.1", "l1:radius=0.1"])
def test_the_smallest_radius_by_hand(spec):
    """In one dimension the three norms are one, and x falls at the radius x − 1/2."""
    fooled = swept(OneNumber(), VALUES, spec=spec, bisections=20)
    expected = torch.tensor([0 if v <= 0.5 else (v - 0.5) / 0.1 if v < 0.7 else math.inf for v in VALUES])
    torch.testing.assert_close(fooled.smallest, expected, atol=2e-5, rtol=0)
    assert torch.equal(fooled.at, expected[:, None] <= torch.tensor(FACTORS))


def test_bisection_halves_the_distance_between_two_points():
    rough, fine = (swept(OneNumber(), [0.523], bisections=n).smallest.item() for n in (0, 6))
    assert rough == 0.5
    assert 0.23 <= fine <= 0.23 + 0.5 / 64 + 1e-6


class Counted(OneNumber):
    """Counts the passes that keep a graph, and those that keep none."""

    def __init__(self):
        super().__init__()
        self.passes = {True: 0, False: 0}

    def forward(self, x):
        self.passes[torch.is_grad_enabled()] += 1
        return super().forward(x)


def test_a_fast_attack_takes_its_gradient_once_for_all_radii():
    net = Counted()
    swept(net, VALUES[:3], nested=False)
    assert net.passes == {True: 1, False: 1 + len(FACTORS) - 1}, "one verdict at the start and one for each radius"


def test_many_steps_take_their_own():
    net = Counted()
    swept(net, VALUES[:3], nested=False, attack="pgd:steps=3,random_start=false", spec="linf:radius=0.001")
    assert net.passes[True] == 3 * (len(FACTORS) - 1)


def test_accuracy_never_rises():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 2))
    values = torch.rand(60, generator=generator).tolist()
    fooled = swept(net, values, "pgd:steps=3", spec="linf:radius=0.3", factors=[0.1, 0.2, 0.4, 0.8, 1.6])
    assert (fooled.at[:, 1:] >= fooled.at[:, :-1]).all()
    result = Sweep.from_fooled(fooled, [0.1, 0.2, 0.4, 0.8, 1.6])
    assert list(result.accuracy) == sorted(result.accuracy, reverse=True)


def test_independent_points_may_rise_as_a_weak_attack_does():
    """What one step of 0.1 finds, one of 0.2 jumps over; the nested sweep does not forget it."""
    factors = [1.0, 2.0]
    assert swept(Island(), [0.501], factors=factors, nested=False).at.tolist() == [[True, False]]
    assert swept(Island(), [0.501], factors=factors).at.tolist() == [[True, True]]


def test_the_sweep_is_as_strong_as_its_attack():
    nested, alone = (swept(OneNumber(), VALUES, "pgd:steps=5", nested=n) for n in (True, False))
    assert torch.equal(nested.at, alone.at)


def test_counts_shares_and_quartiles():
    at = torch.tensor([[True, True], [False, True], [False, False], [False, False]])
    result = Sweep.from_fooled(Fooled(at, torch.tensor([0.0, 1.5, math.inf, math.inf])), [1.0, 2.0])
    assert (result.n, result.correct, result.accuracy, result.beyond) == (4, (3, 2), (0.75, 0.5), 2)
    assert result.intervals == (wilson(3, 4), wilson(2, 4))
    assert result.quartiles == (1.5, math.inf, math.inf)


@pytest.mark.parametrize("factors", [[], [1.0, 1.0], [2.0, 1.0], [-1.0, 1.0]])
def test_factors_must_grow(factors):
    with pytest.raises(UsageError, match="must grow"):
        swept(OneNumber(), VALUES, factors=factors)


def test_rows_that_are_fooled_are_not_attacked_again():
    sizes = []

    class Counting(OneNumber):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    swept(Counting(), [0.51, 0.56, 0.65], factors=[0.5, 1.0, 2.0], bisections=0)
    assert sizes == [3, *[3, 3], *[2, 2], *[1, 1]]
