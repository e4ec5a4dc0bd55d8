"""`robustfw.worst_case`: nets within functions, and threads that share a net."""

from __future__ import annotations

import functools
import threading
import warnings

import pytest
import torch

import robustfw
from robustfw import RobustfwWarning
from robustfw.inner.freezing import find_nets, freeze

ASKED = {"uncertainty": "linf:radius=0.1", "attack": "single-step"}


@pytest.fixture
def statistics(net):
    """What batch norm knows before."""
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


def unchanged(net, statistics):
    return net.training and all(torch.equal(buffer, statistics[name]) for name, buffer in net.named_buffers())


# Nets within functions


class Holder:
    """A callable object with a net."""

    def __init__(self, net):
        self.parts = {"net": [net]}

    def __call__(self, x):
        return self.parts["net"][0](x)

    def method(self, x):
        return self(x)


def called_with(net, x):
    return net(x)


FUNCTIONS = {
    "a closure": lambda net: lambda x: net(x),
    "a partial": lambda net: functools.partial(called_with, net),
    "a keyword of a partial": lambda net: functools.partial(lambda x, net: net(x), net=net),
    "a default": lambda net: lambda x, net=net: net(x),
    "a closure of a closure": lambda net: (lambda inner: lambda x: inner(x))(lambda x: net(x)),
    "an attribute": Holder,
    "a method": lambda net: Holder(net).method,
    "a method of the net": lambda net: net.forward,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_net_within_a_function_is_frozen_as_a_net_itself_is(kind, net, batch, statistics):
    x, y = batch
    function = FUNCTIONS[kind](net)
    assert find_nets(function) == [net]
    moved = robustfw.worst_case(function, x, y, **ASKED)
    torch.testing.assert_close(moved, robustfw.worst_case(net, x, y, **ASKED))
    assert unchanged(net, statistics)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def hiding(net):
    """A function whose net is nowhere to be found: in a dictionary that a C function looks into."""
    found = {"it": net}.__getitem__
    return lambda x: found("it")(x)


def test_a_net_that_hides_is_said_loudly_and_frozen_when_it_is_named(net, batch, statistics):
    x, y = batch
    function = hiding(net)
    assert find_nets(function) == []
    with pytest.warns(RobustfwWarning, match=r"holds a net that was not found.*modules=\[net\]"):
        robustfw.worst_case(function, x, y, **ASKED)
    net.load_state_dict(net.state_dict() | statistics)
    moved = robustfw.worst_case(function, x, y, **ASKED, modules=[net])
    assert unchanged(net, statistics)
    torch.testing.assert_close(moved, robustfw.worst_case(net, x, y, **ASKED))


def test_a_function_without_a_net_is_no_reason_to_warn(batch):
    x, y = batch
    weight = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        robustfw.worst_case(lambda z: z.flatten(1) @ weight, x, y, **ASKED)


def test_a_function_that_cuts_the_graph_has_no_direction_to_go(net, batch):
    x, y = batch
    for function in (lambda z: net(z).detach(), lambda z: torch.zeros(len(z), 3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RobustfwWarning)
            assert torch.equal(robustfw.worst_case(function, x, y, **ASKED), x)


# Threads


def test_threads_that_share_a_net_get_what_one_thread_gets(net, batch):
    """Each freezes the net, and would wake it under the feet of the others."""
    x, y = batch
    asked = ASKED | {"attack": "pgd:steps=10,random_start=false"}
    expected = robustfw.worst_case(net, x, y, **asked)
    found: dict[int, torch.Tensor] = {}
    start = threading.Barrier(4)

    def attack(number):
        start.wait()
        for _ in range(5):
            found[number] = robustfw.worst_case(net, x, y, **asked)

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for moved in found.values():
        torch.testing.assert_close(moved, expected)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_a_thread_waits_for_a_net_that_another_has_frozen(net):
    order, waiting = [], threading.Event()

    def other():
        waiting.set()
        with freeze(net):
            order.append("second")

    with freeze(net):
        thread = threading.Thread(target=other)
        thread.start()
        waiting.wait()
        with freeze(net):  # this thread need not wait for itself
            order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert net.training
