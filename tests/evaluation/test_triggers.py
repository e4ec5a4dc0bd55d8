"""Evidence of masked gradients: found where there is some, and on no sound net."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw.evaluation._triggers import find_triggers
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import freeze
from robustfw.inner.threat import Threat
from robustfw.task import Classification

from .masked_nets import MASKED, digits, sound_nets

EXPECTED = {
    "Rounding": "steps",
    "Saturated": "saturated",
    "Noisy": "random",
    "WinnersTakeAll": "steps",
    "Sparse": "steps",
    "Compressed": "steps",
    "Resized": "random",
    "Thermometer": "steps",
}


def escalation(net, uncertainty="linf:radius=0.1", own_labels=False):
    x, y = next(digits().test.iterate(64))
    task = Classification()
    with torch.no_grad():
        outputs = net(x)
    if own_labels:
        y = outputs.argmax(1)
    right = outputs.argmax(1) == y
    assert right.sum() > 10
    threat = Threat(robustfw.make("uncertainty", uncertainty))
    adversary = Adversary(threat, robustfw.make("attack", "pgd"), torch.Generator().manual_seed(0), task)
    with freeze(net):
        problem = adversary.problem(net, x[right], y[right], criterion=task.wrong)
        return find_triggers(problem, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("net", MASKED, ids=lambda net: net.__name__)
def test_masked_nets_are_seen_through(net):
    torch.manual_seed(0)
    found = escalation(net().eval())
    assert [trigger.name for trigger in found.triggers] == [EXPECTED[net.__name__]]
    (trigger,) = found.triggers
    assert trigger.evidence
    assert trigger.answer


@pytest.mark.parametrize("uncertainty", ["linf:radius=0.1", "l2:radius=0.5", "l1:radius=3"])
@pytest.mark.parametrize("name", list(sound_nets()))
def test_no_sound_net_is_suspected(name, uncertainty):
    found = escalation(sound_nets()[name], uncertainty, own_labels=True)
    assert found.triggers == ()
