"""APGD on DLR: an attack with another loss than the training's, and a step for each row."""

from __future__ import annotations

import itertools

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw.regions import Box, Region
from robustfw.testing import check
from robustfw.testing.problems import Cube


def linear(classes):
    """A linear net, examples well inside [0, 1], labels that it gives, a radius of ℓ∞, and which half it fools."""
    generator = torch.Generator().manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, classes))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(classes, 20, generator=generator))
        net[1].bias.zero_()
    x = 0.3 + 0.4 * torch.rand(300, 1, 4, 5, generator=generator)
    logits, weight = net(x).detach(), net[1].weight.detach()
    y = logits.argmax(1)
    # the largest z_k − z_y over |δ_j| ≤ r is z_k − z_y + r·‖w_k − w_y‖₁
    slope = (weight[None] - weight[y][:, None]).abs().sum(2)
    needed = ((logits.gather(1, y[:, None]) - logits) / slope).scatter(1, y[:, None], torch.inf).amin(1)
    radius = float(needed.median()) + 1e-4
    assert radius < 0.3
    return net, x, y, radius, needed < radius


def fooled(net, x, y, radius, attack):
    found = robustfw.worst_case(
        net, x, y, uncertainty=Cube(radius), attack=attack, criterion="wrong", details=True,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return found.wrong


@pytest.mark.parametrize("random_start", [True, False])
def test_laws(plugin, random_start):
    check(plugin.ApgdDlr(random_start=random_start))


def test_looks_come_after_22_percent_and_then_sooner_and_sooner(plugin):
    assert plugin.looks(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert plugin.looks(1) == []


def test_of_two_classes_it_fools_exactly_the_examples_that_can_be_fooled(plugin):
    net, x, y, radius, can_be_fooled = linear(2)
    assert torch.equal(fooled(net, x, y, radius, plugin.ApgdDlr()), can_be_fooled)


def test_of_four_it_fools_most_and_no_others(plugin):
    net, x, y, radius, can_be_fooled = linear(4)
    wrong = fooled(net, x, y, radius, plugin.ApgdDlr())
    assert not bool((wrong & ~can_be_fooled).any())
    assert float(wrong.sum() / can_be_fooled.sum()) > 0.6


def test_it_does_not_mind_how_large_logits_are_where_cross_entropy_is_blind(plugin):
    net, x, y, radius, _ = linear(4)
    huge = nn.Sequential(net, _Times(1e4))
    plain = fooled(net, x, y, radius, plugin.ApgdDlr())
    assert torch.equal(fooled(huge, x, y, radius, plugin.ApgdDlr()), plain)
    by_cross_entropy = fooled(huge, x, y, radius, plugin.ApgdDlr(loss=robustfw.make("loss", "cross-entropy")))
    assert int(by_cross_entropy.sum()) < 0.5 * int(plain.sum())


class _Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, logits):
        return self.factor * logits


@attrs.frozen(eq=False)
class Watched(Region):
    """A box that notes how long the steps are that are asked for."""

    box: Box
    lengths: list

    @property
    def like(self):
        return self.box.like

    def ascent(self, direction, delta, step):
        self.lengths.append(step)
        return step.reshape(-1, 1) * self.box.support(direction)

    def violation(self, delta):
        return self.box.violation(delta)

    def project(self, point):
        return self.box.project(point)

    def support(self, direction):
        return self.box.support(direction)

    def sample(self, generator):
        return self.box.sample(generator)


def test_steps_are_halved_row_by_row(plugin):
    """The first row's value rises whatever happens; in the second row's bowl no step rises for long."""
    x, calls = torch.full((2, 3), 0.5), itertools.count()
    bowl = torch.tensor([0.0, 50.0])
    region = Watched(Box.broadcast(x, -0.25, 0.25), [])
    problem = robustfw.InnerProblem.from_function(
        lambda moved: (bowl == 0) * next(calls) - bowl * (moved - 0.52).square().sum(1), x, region
    )
    delta = plugin.ApgdDlr(steps=40, random_start=False).maximize(problem, torch.Generator())
    first, last = region.lengths[0], region.lengths[-1]
    assert first.tolist() == [2, 2]
    assert last[0] == 2
    assert last[1] < 0.1
    torch.testing.assert_close(delta[1], torch.full((3,), 0.02), atol=5e-3, rtol=0)


def test_it_trains_and_evaluates_by_its_name(command):
    training = "train", "--attack", "apgd-dlr:steps=3", "--epochs", 1, "--model", "mlp:hidden=[32]", "--out", "run"
    assert command(*training, "--validation-examples", 40).status == 0
    answer = command("evaluate", "run", "--attack", "apgd-dlr:steps=10,loss=margin", "--examples", 50)
    assert answer.status == 0, answer.err
    assert "apgd-dlr:steps=10" in answer.out
