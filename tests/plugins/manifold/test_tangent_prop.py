"""The penalty tangent-prop (eq. 4), and what it has to do with the tangent set."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustfw import losses
from robustfw.regions import inner_products, norms
from robustfw.testing.batches import given_batch
from robustfw_manifold.bases import Basis
from robustfw_manifold.objective import TangentProp
from robustfw_manifold.tangent import Tangent


def asked(model, x, y):
    """The arguments of an objective that asks for no worst case."""
    return model, x, y, given_batch(model, x, y)


def test_the_penalty_of_a_linear_net_is_by_hand():
    net = nn.Linear(3, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    basis = torch.eye(3)[:2]  # so the columns 0 and 1 count

    class Plane(Basis):
        def at(self, x):
            return basis.expand(len(x), 2, 3)

    x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    for output, expected in (("logits", [3.0] * 4), ("label", [2.5, 0.5, 2.5, 0.5])):
        objective = TangentProp(beta=0.5, basis=Plane(), output=output)
        torch.testing.assert_close(objective.penalty(*asked(net, x, y)), torch.tensor(expected))
        torch.testing.assert_close(
            objective(*asked(net, x, y)), losses.cross_entropy(net(x), y) + torch.tensor(expected)
        )


@pytest.mark.parametrize("output", ["logits", "label", "loss"])
def test_the_penalty_and_its_gradient_are_those_of_double_backpropagation(net, batch, output):
    x, y = batch
    objective = TangentProp(beta=0.3, output=output)
    net.eval()
    found = objective.penalty(*asked(net, x, y))
    leaf = x.clone().requires_grad_()
    logits = net(leaf)
    chosen = {
        "logits": list(logits.unbind(1)),
        "label": [logits.gather(1, y[:, None])[:, 0]],
        "loss": [losses.cross_entropy(logits, y)],
    }[output]
    gradients = [torch.autograd.grad(each.sum(), leaf, create_graph=True)[0] for each in chosen]
    basis = objective.basis.at(x).flatten(2)
    expected = 0.3 * sum(torch.einsum("bkd,bd->bk", basis, g.flatten(1)).square().sum(1) for g in gradients)
    torch.testing.assert_close(found, expected)
    weights = list(net.parameters())
    pairs = (torch.autograd.grad(v.sum(), weights, allow_unused=True, retain_graph=True) for v in (found, expected))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(
            torch.zeros(1) if ours is None else ours, torch.zeros(1) if theirs is None else theirs
        )


def test_the_penalty_writes_no_statistics_and_puts_the_flags_back(net, batch):
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net[3].eval()
    TangentProp().penalty(*asked(net, *batch))
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert net.training
    assert net[1].training
    assert not net[3].training


def test_half_precision_of_the_training_leaves_the_penalty_in_full(net, batch):
    full = TangentProp().penalty(*asked(net, *batch))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(TangentProp().penalty(*asked(net, *batch)), full)


def test_an_empty_batch_and_a_net_that_ignores_its_input():
    objective = TangentProp()
    empty = objective.penalty(*asked(nn.Flatten(), torch.rand(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    assert empty.shape == (0,)
    constant = lambda_net(lambda x: torch.ones(len(x), 3))
    blind = objective.penalty(*asked(constant, torch.rand(2, 1, 4, 4), torch.tensor([0, 1])))
    assert blind.tolist() == [0, 0]


def lambda_net(function):
    net = nn.Module()
    net.forward = function
    return net


# What the paper claims: the tangent set regularises the derivatives that tangent-prop penalises


def test_on_a_linear_net_the_set_and_the_penalty_measure_one_and_the_same_derivative():
    """First-order increase of J over Γ ∩ B₂(x, r) = r‖Π∇J‖₂ = r·√Σ_u ⟨u, ∇J⟩², to 1e-10."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).double()
    x, y = torch.rand(30, 1, 6, 6).double(), torch.arange(30) % 4
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses.cross_entropy(net(leaf), y).sum(), leaf)
    radius = 0.7
    region = Tangent(radius=radius).at(x)
    steepest = inner_products(gradient, region.support(gradient))
    projected = norms(region.tangential(gradient))
    penalty = TangentProp(beta=1.0, output="loss").penalty(*asked(net, x, y))
    assert (projected > 1e-3).all()
    torch.testing.assert_close(steepest, radius * projected, atol=1e-10, rtol=0)
    torch.testing.assert_close(penalty.detach(), projected.square(), atol=1e-10, rtol=0)
    # and the increase itself tends to that: J is convex in δ, and its curvature is bounded
    for share in (1e-2, 1e-3):
        small = region.scale(share)
        rise = losses.cross_entropy(net(x + small.support(gradient)), y) - losses.cross_entropy(net(x), y)
        assert ((rise / share - steepest).abs() <= share * 10).all()
