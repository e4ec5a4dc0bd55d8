"""The modes of a net's modules, for passes that must not show in it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustfw.inner.modes import evaluation_mode


class Norm(nn.BatchNorm1d):
    """A batch norm that never learns."""

    def train(self, mode: bool = True):
        return super().train(False)


class Noted(nn.Module):
    """A module that hears of what is set."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "training" and "heard" in vars(self):
            self.heard.append(value)


@pytest.mark.parametrize("more", [[], [nn.BatchNorm1d(2)], [Norm(2)], [Noted()]], ids=["none", "batch", "own", "noted"])
def test_all_modules_are_evaluated_and_come_back_each_as_it_was(more):
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.ReLU()), *more)
    net.train()
    net[0].training = False
    before = [module.training for module in net.modules()]
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == before


def test_modes_come_back_after_an_error():
    net = nn.Dropout()

    def fail():
        with evaluation_mode(net):
            raise ValueError("meanwhile")

    with pytest.raises(ValueError, match="meanwhile"):
        fail()
    assert net.training


def test_a_module_of_its_own_ways_is_asked():
    """One that overrides ``train`` decides for those below it, one that overrides ``__setattr__`` hears of its flag."""

    class Half(nn.Sequential):
        def train(self, mode: bool = True):
            return self[0].train(mode) and self

    net = Half(nn.Dropout(), nn.Dropout())
    with evaluation_mode(net):
        assert [layer.training for layer in net] == [False, True]
    noted = Noted()
    noted.heard.clear()
    with evaluation_mode(noted):
        pass
    assert noted.heard == [False, True]


def test_a_compiled_net_sees_the_modes():
    net = nn.Sequential(nn.Linear(4, 64), nn.Dropout())
    compiled, x = torch.compile(net, backend="eager"), torch.ones(1, 4)
    compiled(x)
    with evaluation_mode(compiled):
        assert torch.equal(compiled(x), net[0](x))
    assert not torch.equal(compiled(x), net[0](x))
    assert net.training
    assert net[1].training
