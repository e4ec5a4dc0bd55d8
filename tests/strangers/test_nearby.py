"""What an attack says of itself holds for attacks that are made of it."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import Attack
from robustfw.testing import check

MADE_OF_IT = (
    "restarts:n=2,attack=halving",
    "strongest:attacks=[halving]",
    "targeted:attack=halving",
)
"""Specs of attacks that run another one."""


def nearest(attack):
    """Lengths of what is found, relative to the least that is enough for a linear net of two classes."""
    generator = torch.Generator().manual_seed(0)
    net, x = nn.Linear(10, 2), 0.4 + 0.2 * torch.rand(50, 10, generator=generator)
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 10, generator=generator))
        net.bias.copy_(-net(x).mean(0) + net.bias)
    y = net(x).argmax(1)
    slope = (net.weight[1] - net.weight[0]).detach()
    needed = (net(x)[:, 1] - net(x)[:, 0]).detach().abs() / slope.norm()
    found = robustfw.worst_case(net, x, y, uncertainty="l2:radius=2", attack=attack, bounds=None, details=True)
    assert bool(found.wrong.all())
    return found.delta.norm(dim=1) / needed


def test_laws(plugin):
    check(plugin.Halving())


@pytest.mark.parametrize("attack", ["halving", *MADE_OF_IT])
def test_near_members_are_looked_for_without_being_asked(plugin, attack):
    lengths = nearest(attack)
    assert float(lengths.median()) < 1.05
    assert float(lengths.min()) > 0.99


@attrs.frozen
class Outside(Attack):
    """Leaves its set and mixes its rows, and says so."""

    stays_inside = False
    couples_rows = True

    def maximize(self, problem, generator):
        return 2 * problem.region.sample(generator).roll(1, 0)


@pytest.mark.parametrize("spec", MADE_OF_IT)
def test_leaving_the_set_and_coupling_rows_are_said_too(plugin, spec):
    made = robustfw.make("attack", spec)
    name = "attacks" if hasattr(made, "attacks") else "attack"
    outside = attrs.evolve(made, **{name: (Outside(),) if name == "attacks" else Outside()})
    assert (made.stays_inside, made.couples_rows, made.minimal) == (True, False, True)
    assert (outside.stays_inside, outside.couples_rows, outside.minimal) == (False, True, False)
