"""Nets of one floating-point type and examples of another are measured alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def linear(dtype):
    torch.manual_seed(0)
    return nn.Linear(6, 3).to(dtype)


@pytest.mark.parametrize("net_type", TYPES)
@pytest.mark.parametrize("x_type", [torch.float32, torch.float64])
def test_the_number_is_that_of_a_plain_loop(net_type, x_type):
    net = linear(net_type)
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(1)).to(x_type)
    with torch.no_grad():
        y = net(x.to(net_type)).argmax(1)
        y[:10] = (y[:10] + 1) % 3
    how = {"uncertainty": "linf:radius=0.2", "attack": "single-step"}
    result = robustfw.evaluate(net, (x, y), **how)
    assert result.clean_accuracy == 0.8

    x_tilde = robustfw.worst_case(net, x, y, **how)
    assert x_tilde.dtype == x_type
    assert (x_tilde - x).abs().max() <= 0.2 + 1e-6
    # by hand: one signed step of the gradient of the cross-entropy
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(net(leaf.to(net_type)).float(), y, reduction="sum").backward()
    by_hand = (x + 0.2 * leaf.grad.sign()).clamp(0, 1)
    assert torch.allclose(x_tilde, by_hand, atol=1e-6)
    with torch.no_grad():
        fooled = net(by_hand.to(net_type)).argmax(1) != y
    assert result.robust_accuracy == pytest.approx(1 - fooled[10:].sum().item() / 50 - 0.2, abs=1e-9)
    assert net.weight.dtype == net_type


def test_crafted_examples_have_the_type_of_the_data():
    net = linear(torch.float16)
    x = torch.rand(20, 6)
    y = net(x.half()).argmax(1)
    crafted = robustfw.craft(net, (x, y), uncertainty="linf:radius=0.5", attack="pgd:steps=3")
    assert len(crafted)
    assert crafted.adversarial.dtype == torch.float32
    with torch.no_grad():
        assert (net(crafted.adversarial.half()).argmax(1) != crafted.y).all()
