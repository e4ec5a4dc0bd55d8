"""AWP by the door of the update: the gradient at other parameters than those that are changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataSpec, Splits, TensorSplit
from robustfw.testing import check

GAMMA = 0.3
RATE = 0.5
RADIUS = 0.1


def problem():
    """Forty points well inside [0, 1], of two classes, and a linear net."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(40, 3, generator=generator)
    data = TensorSplit(x, (x[:, 0] > x[:, 1]).long())
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 3, generator=generator))
        net.bias.fill_(0.1)
    return net, Splits(data, data, data, DataSpec((3,), 2))


def one_update(net, splits, update, **options):
    (step, _) = robustfw.train(
        dataset=splits, model=net, uncertainty=f"linf:radius={RADIUS}", attack="single-step", update=update,
        optimizer="sgd:momentum=0,weight_decay=0", schedule="constant", learning_rate=RATE, batch_size=40, epochs=1,
        device="cpu", steps=True, **options,
    )  # fmt: skip
    return step


def test_laws(plugin):
    check(plugin.Awp())


def test_an_update_is_by_the_gradient_at_the_worst_weights_around_the_worst_cases(plugin):
    net, splits = problem()
    weight, bias = (p.detach().clone().requires_grad_() for p in net.parameters())
    step = one_update(net, splits, plugin.Awp(gamma=GAMMA))
    x, y = splits.train.x, splits.train.y
    # of a linear net of two classes the fast method has the exact worst case
    x = x + RADIUS * ((weight[1] - weight[0]).sign() * (1 - 2 * y[:, None])).detach()
    loss = nn.functional.cross_entropy(x @ weight.T + bias, y)
    (gradient,) = torch.autograd.grad(loss, weight)
    moved = weight + GAMMA * weight.norm() * gradient / gradient.norm()
    nearby = nn.functional.cross_entropy(x @ moved.T + bias, y)
    by_weight, by_bias = torch.autograd.grad(nearby, [moved, bias])
    assert bool(nearby > loss)
    torch.testing.assert_close(step.loss, loss.detach())
    torch.testing.assert_close(net.weight.detach(), (weight - RATE * by_weight).detach())
    torch.testing.assert_close(net.bias.detach(), (bias - RATE * by_bias).detach())


def test_without_a_perturbation_of_the_weights_it_is_the_usual_update(plugin):
    (net, splits), (twin, _) = problem(), problem()
    one_update(net, splits, plugin.Awp(gamma=0.0))
    one_update(twin, splits, "once")
    assert torch.equal(net.weight, twin.weight)


@pytest.mark.parametrize("objective", ["robust", "trades"])
def test_worst_cases_are_looked_for_once(plugin, objective):
    passes = []
    for update in (plugin.Awp(), "once"):
        net, splits = problem()
        epoch = list(robustfw.train(
            dataset=splits, model=net, uncertainty="linf:radius=0.1", attack="pgd:steps=3", objective=objective,
            update=update, batch_size=20, epochs=1, device="cpu",
        ))[-1]  # fmt: skip
        passes.append(epoch.passes_per_example)
    assert passes[0] == passes[1] > 0


def test_it_trains_and_resumes(resumed):
    resumed(update="awp:gamma=0.02", model="mlp:hidden=[16]", attack="single-step", objective="trades", batch_size=200)
