"""Attacks on masked nets: through what hides the gradient, and judged by the net itself."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import robustfw
from robustfw.evaluation import KnownCases

from .masked_nets import MASKED, Masked, base, digits

HOW = {"uncertainty": "linf:radius=0.1", "attack": "restarts:n=2,attack=(pgd:steps=30)", "examples": 150}


def measured(net, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", robustfw.RobustfwWarning)  # of random nets, and of gradients that are 0
        torch.manual_seed(0)
        return robustfw.evaluate(net, digits(), **HOW | options)


@pytest.mark.parametrize("net", MASKED, ids=lambda net: net.__name__)
def test_fewer_stand_once_the_net_is_seen_through(net):
    blind = measured(net().eval())
    seen = measured(net().eval(), escalate=True)
    assert blind.escalation == ()
    assert len(seen.escalation) == 1
    # a random net is right more often by the majority of its draws, so that shares are compared
    assert seen.robust / seen.correct < blind.robust / blind.correct


@pytest.mark.parametrize("name", ["Rounding", "Saturated", "Compressed"])
def test_about_as_few_as_of_the_net_within(name):
    (net,) = (net for net in MASKED if net.__name__ == name)
    assert measured(net().eval(), escalate=True).robust <= measured(base()).robust + 5


def test_a_sound_net_is_attacked_as_ever():
    asked = measured(base(), escalate=True)
    plain = measured(base())
    assert asked.escalation == ()
    assert torch.equal(asked.verdicts.robust, plain.verdicts.robust)
    assert (asked.forward_passes, asked.backward_passes) == (plain.forward_passes, plain.backward_passes)


class Opaque(Masked):
    """A step that no function of torch's shows: its gradient is cut by hand."""

    def forward(self, x):
        return self.net(x.detach()) + 0 * x.flatten(1).sum(1, keepdim=True)


def test_where_gradients_lead_nowhere_random_members_are_tried():
    seen = measured(Opaque().eval(), escalate=True)
    assert [trigger.name for trigger in seen.escalation] == ["useless"]
    blind = measured(Opaque().eval())
    assert seen.robust <= blind.robust
    assert seen.forward_passes > 200 * seen.robust


class Looking(nn.Module):
    """A net that looks up its pixels in a table: nothing can stand in for that."""

    def __init__(self) -> None:
        super().__init__()
        self.net = base()
        self.register_buffer("table", torch.arange(16) / 15)

    def forward(self, x):
        return self.net(self.table[(15 * x).round().long()])


def test_a_table_that_is_indexed_is_no_error():
    seen = measured(Looking().eval(), escalate=True)
    assert [trigger.name for trigger in seen.escalation] == ["useless"]


def test_known_cases_begin_from_python_too():
    known = KnownCases.empty()
    before = measured(base(), known=known)
    after = measured(base(), known=known, attack="random:samples=1")
    assert after.robust <= before.robust
    assert known.tried == before.correct - before.robust
