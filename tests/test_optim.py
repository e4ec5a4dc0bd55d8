"""Optimizers of our own: what a step does to filters and to everything else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustfw import make
from robustfw_optim.muon import orthogonal


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.floats(-6, 6))
def test_orthogonal_keeps_singular_vectors_and_takes_values_near_one(seed, rows, columns, magnitude):
    generator = torch.Generator().manual_seed(seed)
    size = min(rows, columns)
    u, v = (torch.linalg.qr(torch.randn(n, size, generator=generator, dtype=torch.float64))[0] for n in (rows, columns))
    values = 0.25 + 0.75 * torch.rand(size, generator=generator, dtype=torch.float64)
    found = u.t() @ orthogonal(10**magnitude * (u * values) @ v.t()) @ v
    torch.testing.assert_close(found, torch.diag(found.diagonal()), atol=1e-8, rtol=0)
    assert 0.64 < found.diagonal().min() <= found.diagonal().max() < 1.21


def test_the_direction_of_nothing_is_nothing():
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(54, 3))
    return layers.to(memory_format=torch.channels_last)


def step(net, optimizer, x):
    optimizer.zero_grad()
    net(x).pow(2).mean().backward()
    optimizer.step()


def test_filters_turn_by_the_learning_rate_and_keep_their_length(net):
    optimizer = make("optimizer", "muon:momentum=0").build(net.parameters(), 0.1)
    before = net[0].weight.detach().clone()
    step(net, optimizer, torch.randn(8, 2, 5, 5))
    after = net[0].weight.detach()
    torch.testing.assert_close(after.norm(), before.norm())
    moved = after * ((before - 0.1 * optimizer.param_groups[0]["params"][0].grad).norm() / before.norm()) - before
    torch.testing.assert_close(moved.norm(), 0.1 * before.norm())


def test_momentum_is_nesterovs(net):
    """After two gradients, the direction is that of g₂ + m(m·g₁ + g₂)."""
    optimizer = make("optimizer", "muon:momentum=0.5").build(net.parameters(), 1e-6)
    gradients = torch.randn(2, 6, 2, 3, 3)
    for gradient in gradients:
        net[0].weight.grad = gradient.clone()
        optimizer.step()
    expected = orthogonal((gradients[1] + 0.5 * (0.5 * gradients[0] + gradients[1])).flatten(1))
    cosine = torch.cosine_similarity(expected.flatten(), net[0].weight.grad.flatten(), 0)
    torch.testing.assert_close(cosine, torch.ones(()))


def test_everything_else_is_torchs_sgd(net):
    rest = [net[0].bias, net[2].weight, net[2].bias]
    copies = [nn.Parameter(p.detach().clone()) for p in rest]
    ours = make("optimizer", "muon:momentum=0.8,others=3,weight_decay=0.01").build(net.parameters(), 0.05)
    theirs = torch.optim.SGD(copies, 0.15, momentum=0.8, nesterov=True, weight_decay=0.01)
    for seed in range(3):
        step(net, ours, torch.randn(8, 2, 5, 5, generator=torch.Generator().manual_seed(seed)))
        for copy, p in zip(copies, rest, strict=True):
            copy.grad = p.grad.clone()
        theirs.step()
    for copy, p in zip(copies, rest, strict=True):
        torch.testing.assert_close(copy, p)


def test_a_closure_is_called_before_directions_are_taken(net):
    optimizer = make("optimizer", "muon").build(net.parameters(), 0.01)
    x, before = torch.randn(8, 2, 5, 5), net[0].weight.detach().clone()

    def closure():
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert not torch.equal(net[0].weight, before)
    for _ in range(20):
        last = optimizer.step(closure)
    assert last < first


def test_a_net_without_filters_and_filters_of_zeros():
    """Nothing to turn, or nothing to be turned: no division by 0."""
    alone = nn.Linear(3, 2)
    step(alone, make("optimizer", "muon").build(alone.parameters(), 0.1), torch.randn(4, 3))
    zeros = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    nn.init.zeros_(zeros[0].weight)
    step(zeros, make("optimizer", "muon").build(zeros.parameters(), 0.1), torch.randn(4, 1, 3, 3))
    assert all(torch.isfinite(p).all() for net in (alone, zeros) for p in net.parameters())
