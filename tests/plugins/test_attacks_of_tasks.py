"""Attacks on regressions, several labels, pixels and one logit, held against closed forms."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch.nn import functional

import robustfw

from .linear_problems import EVERY, images, linear_net, problem, solved_rows
from .maximizing import maximize


def squared(outputs, y):
    return (outputs - y).square().flatten(1).sum(1)


@pytest.mark.parametrize("spec", ["linf:radius=0.1", "l2:radius=0.3"])
@pytest.mark.parametrize("attack", EVERY)
def test_regression_reaches_its_closed_form(attack, spec):
    """(r + w·δ)² over ‖δ‖ ≤ ε is (|r| + ε‖w‖_*)² where the residual r is far from 0."""
    net, x = linear_net(1, dtype=torch.float64), images(dtype=torch.float64)
    y = net(x) - 20 * torch.tensor([1.0, -1.0]).repeat(24)[:, None]
    reach = 0.1 * net.weight.abs().sum() if spec.startswith("linf") else 0.3 * net.weight.norm()
    p = problem(net, x, y, spec, criterion=None, loss=squared)
    zero = p.value(p.region.zero())
    exact = (zero.sqrt() + reach).square()
    promised = robustfw.make("attack", attack).linear_share
    assert ((p.value(maximize(attack, p)) - zero) / (exact - zero) >= 0.98 * promised).all()


@pytest.mark.parametrize("attack", EVERY)
def test_regression_with_a_tolerance_is_solved_where_the_closed_form_says(attack):
    net, x = linear_net(1, dtype=torch.float64), images(dtype=torch.float64)
    residual = torch.linspace(0.1, 1.0, 48, dtype=torch.float64)[:, None]

    def beyond_tolerance(outputs, y):
        return (outputs - y).abs()[:, 0] > 1

    p = problem(net, x, net(x) - residual, "l2:radius=0.3", criterion=beyond_tolerance, loss=squared)
    reach = 0.3 * net.weight.norm()
    found = solved_rows(attack, p)
    assert not found[residual[:, 0] + reach <= 1].any()
    if robustfw.make("attack", attack).linear_share > 0:
        assert found[residual[:, 0] + 0.6 * reach > 1].all()


def binary_cross_entropy(outputs, y):
    each = functional.binary_cross_entropy_with_logits(outputs, y.to(outputs).reshape(outputs.shape), reduction="none")
    return each.reshape(len(outputs), -1).sum(1)


def pixel_cross_entropy(outputs, y):
    return functional.cross_entropy(outputs, y, reduction="none").flatten(1).mean(1)


def sign_is_wrong(outputs, y):
    return ((outputs > 0) != (y > 0).reshape(outputs.shape)).reshape(len(outputs), -1).any(1)


def pixels_are_wrong(outputs, y):
    return (outputs.argmax(1) != y).flatten(1).double().mean(1) > 0.2


TASKS = {
    "multilabel": ((3,), binary_cross_entropy, sign_is_wrong),
    "segmentation": ((3, 2, 2), pixel_cross_entropy, pixels_are_wrong),
    "one logit": ((1,), binary_cross_entropy, sign_is_wrong),
    "one logit without an axis": ((), binary_cross_entropy, sign_is_wrong),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("attack", EVERY)
def test_every_attack_raises_the_loss_of_every_task(attack, task):
    shape, loss, wrong = TASKS[task]
    net, x = linear_net(math.prod(shape)), images()

    def forward(moved):
        return net(moved).reshape(len(moved), *shape)

    y = forward(x).argmax(1) if task == "segmentation" else (forward(x) > 0).long()
    if task == "multilabel":
        y = y.float()
    if task == "one logit":
        y = y[:, 0]
    p = problem(forward, x, y, "l2:radius=0.4", criterion=None, loss=loss)
    delta = maximize(attack, p)
    assert (p.region.violation(delta) <= 1e-6).all()
    assert (p.value(delta) > p.value(p.region.zero())).double().mean() > 0.9
    judged = attrs.evolve(p, criterion=wrong)
    found, strongest = solved_rows(attack, judged), solved_rows("pgd:steps=40", judged)
    assert strongest.any()
    assert found[strongest].double().mean() > (0.3 if attack == "random" else 0.8)
