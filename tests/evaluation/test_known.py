"""Worst cases that are known are tried first: a number can only fall, and nothing that is read is believed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw.evaluation import KnownCases, Verdicts, verdicts
from robustfw.inner.threat import Threat


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()


@pytest.fixture(scope="module")
def split(net):
    x = torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    y[::6] = (y[::6] + 1) % 4
    return robustfw.TensorSplit(x, y)


def measured(net, split, known, attack="single-step", uncertainty="linf:radius=0.03", batch_size=40, **options):
    return Verdicts.concatenate(
        verdicts(
            net,
            split,
            threat=Threat(robustfw.make("uncertainty", uncertainty)),
            attacks=[robustfw.make("attack", attack)],
            batch_size=batch_size,
            known=known,
            **options,
        )
    )


@pytest.mark.parametrize("uncertainty", ["linf:radius=0.03", "l2:radius=0.4", "rotation-translation:angle=20"])
def test_a_weak_attack_after_a_strong_one_leaves_no_more_standing(net, split, uncertainty):
    known = KnownCases.empty()
    strong = "restarts:n=5,attack=(pgd:steps=20)" if uncertainty[0] == "l" else "random:samples=200"
    before = measured(net, split, known, strong, uncertainty)
    fooled = before.clean & ~before.robust
    assert set(known.index.tolist()) == set(fooled.nonzero()[:, 0].tolist())
    assert int(fooled.sum()) > 0
    weak = measured(net, split, None, "random:samples=1", uncertainty)
    assert int(weak.robust.sum()) > int(before.robust.sum())
    after = measured(net, split, known, "random:samples=1", uncertainty)
    assert bool((after.robust <= before.robust).all())
    assert known.tried == known.fooled == int(fooled.sum())


def test_batches_of_another_size_find_them_again(net, split):
    known = KnownCases.empty()
    before = measured(net, split, known, "pgd:steps=20")
    after = measured(net, split, known, "random:samples=1", batch_size=7)
    assert bool((after.robust <= before.robust).all())
    for batch_size in (1, 90):
        again = measured(net, split, known, "random:samples=1", batch_size=batch_size)
        assert torch.equal(again.robust, after.robust)


def test_what_leaves_the_set_fools_nobody(net, split):
    known = KnownCases.empty()
    measured(net, split, known, "pgd:steps=20")
    plain = measured(net, split, None, "random:samples=1")
    for delta in (10 * known.delta, torch.full_like(known.delta, torch.nan), known.delta + 0.01 * known.delta.sign()):
        damaged = KnownCases(known.index.clone(), delta)
        found = measured(net, split, damaged, "random:samples=1")
        assert damaged.fooled == 0
        assert torch.equal(found.robust, plain.robust)


@pytest.mark.parametrize("shape", [(1, 8, 9), (64,), (1, 1, 8, 8)])
def test_what_has_another_form_fools_nobody(net, split, shape):
    known = KnownCases(torch.arange(20), torch.zeros(20, *shape))
    found = measured(net, split, known, "random:samples=1")
    assert known.fooled == 0
    assert torch.equal(found.robust, measured(net, split, None, "random:samples=1").robust)


def test_it_is_judged_again_by_the_net(net, split):
    known = KnownCases.empty()
    measured(net, split, known, "pgd:steps=20")
    torch.manual_seed(5)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()
    labels = robustfw.TensorSplit(split.x, other(split.x).argmax(1))
    found = measured(other, labels, known, "random:samples=1", "linf:radius=0.0001")
    assert known.fooled == 0, "in a set so small, nothing of these is a member"
    assert bool(found.robust.all())


def test_worst_cases_are_kept_with_the_examples(net, split):
    known = KnownCases.empty()
    before = measured(net, split, known, "pgd:steps=20")
    after = measured(net, split, known, "random:samples=1", keep_examples=True)
    fooled = before.clean & ~before.robust
    with torch.no_grad():
        assert bool((net(after.examples.adversarial[fooled]).argmax(1) != split.y[fooled]).all())


def test_a_regression_goes_without(split):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1)).eval()
    known = KnownCases(torch.arange(5), torch.zeros(5, 1, 8, 8))
    targets = robustfw.TensorSplit(split.x, net(split.x).detach())
    found = measured(net, targets, known, "pgd:steps=3", task=robustfw.make("task", "regression:tolerance=0.1"))
    assert len(found) == 90
    assert known.tried == 0
