"""What a training step does not do: wait for its device, compute gradients that nobody asked for, keep graphs."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import robustfw
from robustfw.plugin.registry import installed
from robustfw.training import _engine as engine
from robustfw.training._state import State
from robustfw.training.recipe import Recipe

MNIST = robustfw.DataSpec((1, 28, 28), 10, mean=(0.13,), std=(0.31,))
GRAPHLESS = {"aten.detach.default", "aten.view.default"}


def paper_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return robustfw.make("model", "paper-mnist").build(MNIST)


class Operators(TorchDispatchMode):
    """Counts operators, and the gradients that backward convolutions are asked for."""

    def __init__(self):
        super().__init__()
        self.count = Counter()
        self.masks = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count[str(operator)] += 1
        if "convolution_backward" in str(operator):
            self.masks.append(tuple(args[-1]))
        return operator(*args, **(kwargs or {}))


def batch_of(recipe, state, x, y, **more):
    parts = {"uncertainty": recipe.uncertainty, "attack": recipe.attack, "passes": state.passes}
    return attrs.evolve(robustfw.Batch.create(state.model, x, y, **parts), **more)


def step(recipe, state, x, y, **more):
    return engine.update(recipe, state, batch_of(recipe, state, x, y, **more))


@pytest.mark.parametrize("attack", ["single-step", "single-step:random_start=true,step=1.25", "pgd:steps=2"])
@pytest.mark.parametrize("spec", ["linf:radius=0.1", "l2", "l1", "l0", "linf:radius=[0.1]", "l2:radius=[1]"])
@pytest.mark.parametrize("objective", ["robust", "clean", "mixed", "[robust,input-gradient]"])
def test_a_step_waits_for_no_value(attack, spec, objective):
    """On the device `meta` there are no values: whoever asks for one gets an error."""
    recipe = Recipe.read({"uncertainty": spec, "attack": attack, "objective": objective, "train": {}}, installed())
    state = State.fresh(paper_net, recipe.train, torch.device("meta"), 10)
    x, y = torch.rand(4, 1, 28, 28, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    loss = step(recipe, state, x, y, checked=True, trusted=True)
    assert loss.device.type == "meta"
    with pytest.raises(RuntimeError):
        bool(loss)


@pytest.mark.parametrize(
    "objective", ["vat", "trades", "noise", "dropout", "contractive", "operator-norm", "tangent-prop:output=loss"]
)
def test_nor_does_any_objective(objective):
    test_a_step_waits_for_no_value("single-step", "linf:radius=0.1", objective)


def test_it_would_be_noticed():
    """Whether x is in its range can only be known by looking."""
    recipe = Recipe.read({"attack": "single-step", "train": {}}, installed())
    state = State.fresh(paper_net, recipe.train, torch.device("meta"), 10)
    x, y = torch.rand(4, 1, 28, 28, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    with pytest.raises(RuntimeError):
        step(recipe, state, x, y, checked=False, trusted=True)


@pytest.mark.parametrize("spec", ["linf:radius=0.1", "l2", "l1"])
def test_the_ascent_asks_for_the_gradient_of_x_alone(spec):
    net, x, y = paper_net(), torch.rand(4, 1, 28, 28), torch.arange(4)
    with Operators() as seen:
        robustfw.worst_case(net, x, y, uncertainty=spec, attack="single-step")
    assert seen.count["aten.convolution.default"] == 2, "one forward pass of two convolutions"
    assert seen.masks == [(True, False, False)], "the second layer's weights are left alone, the first is a product"
    linear = [name for name in seen.count if "addmm" in name]
    assert sum(seen.count[name] for name in linear) == 2
    assert seen.count["aten.mm.default"] == 2, "of the two linear layers' backward, no product for weights"


def test_a_robust_step_is_one_more_forward_and_one_more_input_gradient():
    counts = {}
    for objective in ("clean", "robust"):
        recipe = Recipe.read({"attack": "single-step", "objective": objective, "train": {}}, installed())
        state = State.fresh(paper_net, recipe.train, torch.device("cpu"), 10)
        with Operators() as seen:
            step(recipe, state, torch.rand(4, 1, 28, 28), torch.arange(4))
        counts[objective] = seen.count, seen.masks
    (clean, clean_masks), (robust, robust_masks) = counts["clean"], counts["robust"]
    assert robust["aten.convolution.default"] == 2 * clean["aten.convolution.default"]
    assert sorted(robust_masks) == sorted([*clean_masks, (True, False, False)])


def test_measuring_values_keeps_no_graph():
    net, x = paper_net(), torch.rand(4, 1, 28, 28)
    region = robustfw.make("uncertainty", "linf").at(x)
    problem = robustfw.InnerProblem(net, robustfw.losses.cross_entropy, x, torch.arange(4), region)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        value = problem.value(region.zero())
        assert not saved
        assert not value.requires_grad
        values, gradient = problem.value_and_grad(region.zero())
    assert saved, "or the check above could not fail"
    assert not values.requires_grad
    assert not gradient.requires_grad


def test_a_frozen_net_saves_no_more_than_its_input_gradient_needs():
    """With parameters frozen, linear layers save their weights only, not their inputs."""
    net = nn.Sequential(nn.Linear(6, 50), nn.Linear(50, 2))
    kept = {}
    for frozen in (False, True):
        net.requires_grad_(not frozen)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.shape) or t, lambda t: t):
            net(torch.rand(10, 6, requires_grad=True))
        kept[frozen] = sizes
    assert torch.Size([10, 50]) in kept[False]
    assert torch.Size([10, 50]) not in kept[True]
