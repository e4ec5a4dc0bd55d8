"""Evaluation of nets that decide nothing, hold no numbers, or change their input in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import RobustfwWarning, TensorSplit
from robustfw.evaluation import Examples, craft
from robustfw.inner.threat import Threat

from .one_logit import SMALL, OneLogit, blobs, counts, evaluate

# Doubts


class Constant(nn.Module):
    """Outputs that do not depend on x."""

    def __init__(self, value=0.0):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.constant_(self.layer.bias, value)

    def forward(self, x):
        return self.layer(x)


def test_a_tie_is_no_decision_and_is_said():
    x, y = blobs(20)
    tie = pytest.warns(RobustfwWarning, match="at 20 of 20 examples the largest output is shared by several classes")
    with pytest.warns(RobustfwWarning, match="the same outputs for all 20 examples"), tie:
        found = robustfw.evaluate(Constant(), TensorSplit(x, y), **SMALL)
    assert (found.correct, found.robust, found.ties) == (0, 0, 20)


def test_weights_that_are_no_numbers_are_said():
    x, y = blobs(20)
    with pytest.warns(RobustfwWarning, match="at 20 of 20 examples the net's outputs are not numbers"):
        found = robustfw.evaluate(Constant(torch.nan), TensorSplit(x, y), **SMALL)
    assert (found.correct, found.robust, found.not_numbers) == (0, 0, 20)


# Nets with ways of their own


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.sub_(0.1).mul_(1.25))


class Twin(InPlace):
    """The function of `InPlace`, without writing into x."""

    def forward(self, x):
        return self.net((x - 0.1) * 1.25)


def pair():
    x, y = blobs()
    net = OneLogit(two=True)
    nn.init.constant_(net.layer.bias, -2.0)
    return InPlace(net), Twin(net), x, y


@pytest.mark.parametrize("attack", ["single-step", "pgd:steps=5,random_start=false", "cw", "random", "deepfool"])
def test_a_net_that_changes_its_input_in_place_is_its_twin(attack):
    in_place, twin, x, y = pair()
    before = x.clone()
    one, other = (evaluate(net, x, y, attack=attack, uncertainty="linf:radius=0.04") for net in (in_place, twin))
    assert counts(one) == counts(other)
    assert 0 < one.robust < one.correct
    assert torch.equal(x, before)
    moved = [
        robustfw.worst_case(
            net, x, y, uncertainty="linf:radius=0.04", attack=attack, generator=torch.Generator().manual_seed(0)
        )
        for net in (in_place, twin)
    ]
    torch.testing.assert_close(*moved)
    assert torch.equal(x, before)


def test_what_is_crafted_against_it_is_made_of_the_examples():
    in_place, twin, x, y = pair()
    threat = Threat(robustfw.make("uncertainty", "linf:radius=0.04"))
    attack = robustfw.make("attack", "single-step")
    found = [
        Examples.concatenate(list(craft(net, TensorSplit(x, y), threats=[threat], attack=attack)))
        for net in (in_place, twin)
    ]
    assert len(found[0]) > 0
    for name, tensor in found[0].tensors().items():
        torch.testing.assert_close(tensor, found[1].tensors()[name])
    assert torch.equal(found[0].original, x[found[0].index])


def test_nothing_right_is_nothing_to_craft_from():
    x, y = blobs(20)
    net, threat = Constant(), Threat(robustfw.make("uncertainty", "linf:radius=0.04"))
    made = craft(net, TensorSplit(x, y), threats=[threat], attack=robustfw.make("attack", "pgd"))
    assert len(Examples.concatenate(list(made))) == 0


def test_within_inference_mode_attacks_find_what_they_find_outside():
    x, y = blobs()
    net = OneLogit(two=True)
    outside = evaluate(net, x, y)
    with torch.inference_mode():
        inside = evaluate(net, x.clone(), y.clone())
    with torch.no_grad():
        without = evaluate(net, x, y)
    assert counts(inside) == counts(outside) == counts(without)
    assert outside.robust < outside.correct
