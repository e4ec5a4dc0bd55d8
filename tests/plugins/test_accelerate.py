"""`accelerate` on any net: the same function, the same parameters under the same names, faster layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robustfw_kernels import accelerate
from robustfw_kernels.convolution import InputConv2d
from robustfw_kernels.layers import ChannelsLast, Standardize
from robustfw_kernels.pooled import PooledInputConv2d
from robustfw_kernels.small_maps import HiddenConv2d


class Residual(nn.Module):
    """A stranger's block, with layers in attributes and in lists."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)])
        self.skip = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.skip(x) + self.body[1](self.body[0](x).relu())


class Own(nn.Conv2d):
    """A convolution of a stranger's own, which stays as it is."""

    def forward(self, input):
        return super().forward(2 * input)


def stranger():
    torch.manual_seed(0)
    image = nn.Sequential(
        nn.ZeroPad2d(1),
        Standardize([0.2, 0.1, 0.3], [0.5, 1.0, 2.0]),
        ChannelsLast(),
        nn.Conv2d(3, 8, 3),
        nn.MaxPool2d(2),
    )
    return nn.Sequential(image, nn.ReLU(), Residual(), Own(8, 8, 1), nn.Conv2d(8, 4, 4), nn.Flatten())


@pytest.mark.parametrize("learning", [False, True])
def test_function_and_gradients_stay(learning):
    net = stranger().requires_grad_(learning)
    fast = accelerate(copy.deepcopy(net))
    values = []
    for each in (net, fast):
        x = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        outputs = each(x)
        outputs.square().sum().backward()
        values.append([outputs.detach(), x.grad, *(p.grad for p in each.parameters() if learning)])
    for one, other in zip(*values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_layers_are_replaced_where_they_are_exactly_torchs():
    fast = accelerate(stranger())
    assert isinstance(fast[0], PooledInputConv2d)
    assert type(fast[0][3]) is InputConv2d
    assert [type(layer) for layer in fast[2].body] == [HiddenConv2d, HiddenConv2d]
    assert type(fast[2].skip) is HiddenConv2d
    assert type(fast[3]) is Own


def test_parameters_are_the_very_same_under_the_same_names():
    net = stranger()
    before = dict(net.named_parameters())
    drawn = torch.get_rng_state()
    fast = accelerate(net)
    assert torch.equal(torch.get_rng_state(), drawn)
    after = dict(fast.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert list(fast.state_dict()) == list(stranger().state_dict())
    assert accelerate(fast) is fast


def test_a_layer_alone_and_a_pool_of_other_windows():
    assert type(accelerate(nn.Conv2d(1, 4, 3))) is InputConv2d
    for pool in (nn.MaxPool2d(3, stride=2), nn.MaxPool2d((2, 3)), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2)):
        layers = accelerate(nn.Sequential(nn.Conv2d(1, 4, 3), pool))
        assert type(layers) is nn.Sequential
        assert type(layers[0]) is InputConv2d
