"""The inner problem and the worst cases of a batch."""

from __future__ import annotations

import copy

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import Attack, DataError, PluginError, losses
from robustfw.inner.freezing import freeze
from robustfw.inner.problem import InnerProblem, Passes
from robustfw.plugin.registry import Registry
from robustfw.regions import Region

REGISTRY = Registry.installed()
ATTACKS = [entry.name for entry in REGISTRY.entries_of_kind("attack")]


def problem_of(function, x, spec="linf:radius=0.2", **more):
    region = robustfw.make("uncertainty", spec).at(x).clip(0 - x, 1 - x)
    return attrs.evolve(InnerProblem.from_function(function, x, region), **more)


def test_values_gradients_and_passes_by_hand():
    x = torch.full((3, 2), 0.5, dtype=torch.float64)
    problem = problem_of(lambda moved: (moved**2).sum(1), x)
    delta = torch.full_like(x, 0.1)
    value, gradient = problem.value_and_grad(delta)
    torch.testing.assert_close(value, torch.full((3,), 0.72, dtype=torch.float64))
    torch.testing.assert_close(gradient, torch.full((3, 2), 1.2, dtype=torch.float64))
    torch.testing.assert_close(problem.value(delta), value)
    problem[torch.tensor([0])].value(delta[:1])
    assert problem.passes == Passes(forward=7, backward=3)


@attrs.frozen(eq=False)
class Twice(Region):
    """A set whose δ moves x by 2δ."""

    region: Region

    @property
    def like(self):
        return self.region.like

    def violation(self, delta):
        return self.region.violation(delta)

    def project(self, point):
        return self.region.project(point)

    def support(self, direction):
        return self.region.support(direction)

    def sample(self, generator):
        return self.region.sample(generator)

    def apply(self, x, delta):
        return x + 2 * delta


def test_what_is_known_of_x_is_asked_once():
    """The gradient at x is kept for some of the rows and for multiples of the set, and not for another target."""
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    region = robustfw.make("uncertainty", "l2:radius=0.1").at(x)
    problem = InnerProblem(lambda moved: moved**2, losses.cross_entropy, x, torch.tensor([0, 1, 2, 0]), region)
    expected = problem.value_and_grad(region.zero())
    torch.testing.assert_close(problem.linearize(), expected, rtol=0, atol=0)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(problem.with_region(region.scale(3.0)).linearize(), expected, rtol=0, atol=0)
    torch.testing.assert_close(problem[rows].linearize(), tuple(each[rows] for each in expected), rtol=0, atol=0)
    assert problem.passes == Passes(forward=8, backward=8)
    twice = problem.with_region(Twice(region))
    torch.testing.assert_close(twice.linearize()[1], 2 * expected[1])
    again = problem.with_region(Twice(region).scale(0.5)).linearize()[1]
    torch.testing.assert_close(again, 2 * expected[1], msg="a multiple of a set moves x as the set does")
    other = problem.with_target(torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(other.linearize(), other.value_and_grad(region.zero()), rtol=0, atol=0)
    assert not torch.equal(other.linearize()[1], expected[1])


def test_a_row_that_reaches_the_criterion_is_worth_infinity():
    x = torch.zeros(2, 1)
    problem = problem_of(lambda moved: moved[:, 0], x, criterion=lambda values, y: torch.tensor([True, False]))
    value, gradient = problem.value_and_grad(torch.full_like(x, 0.1))
    assert value.isposinf().tolist() == [True, False]
    assert gradient.isfinite().all()


def test_the_gradient_of_a_row_does_not_depend_on_the_size_of_the_batch(net, batch):
    x, y = batch
    net.eval()
    region = robustfw.make("uncertainty", "linf").at(x)
    whole = InnerProblem(net, losses.cross_entropy, x, y, region).value_and_grad(region.zero())[1]
    alone = InnerProblem(net, losses.cross_entropy, x, y, region)[:1].value_and_grad(region.zero()[:1])[1]
    torch.testing.assert_close(whole[:1], alone)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_leaves_the_net_bit_equal(net, batch, attack, mode):
    """Parameters' .grad, buffers and flags: before and after."""
    x, y = batch
    losses.cross_entropy(net(x), y).sum().backward()
    net[1].eval()  # a flag of its own
    net[0].bias.requires_grad_(False)
    before = copy.deepcopy((net.state_dict(), [p.grad for p in net.parameters()]))
    flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()]
    moved = robustfw.worst_case(net, x, y, uncertainty="linf:radius=0.1", attack=attack, mode=mode)
    after = net.state_dict(), [p.grad for p in net.parameters()]
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert flags == [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()]
    assert not moved.requires_grad


def test_the_net_is_restored_even_when_the_attack_raises(net, batch):
    class Fails(Attack):
        def maximize(self, problem, generator):
            raise RuntimeError("in the middle")

    x, y = batch
    with pytest.raises(RuntimeError, match="in the middle"):
        robustfw.worst_case(net, x, y, uncertainty="linf", attack=Fails())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_eval_mode_uses_running_statistics_and_train_mode_the_batch(net, batch):
    x, _ = batch
    with freeze(net, "eval"):
        torch.testing.assert_close(net(x), net(x))
        assert not net[1].training
    with freeze(net, "train"):
        assert net[1].training
    assert net[1].num_batches_tracked == 0


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("spec", ["linf:radius=0.1", "l2:radius=0.5", "l1:radius=2", "l0:radius=3"])
def test_worst_cases_stay_in_their_set_and_in_the_data_range(net, batch, attack, spec):
    if spec.startswith("l0") and attack == "frank-wolfe":
        pytest.skip("frank-wolfe refuses sets that are not convex")
    x, y = batch
    x = x.round()
    moved = robustfw.worst_case(net, x, y, uncertainty=spec, attack=attack)
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    region = robustfw.make("uncertainty", spec).at(x)
    assert float(region.violation(moved - x).max()) <= 1e-5


def test_without_bounds_there_is_no_box(net, batch):
    x, y = batch
    moved = robustfw.worst_case(net, 5 * x, y, uncertainty="linf:radius=1", attack="single-step", bounds=None)
    assert float((moved - 5 * x).abs().max()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "x is uint8: give floats in the data's range"),
        (torch.full((2, 1, 4, 4), 1.5), r"x ranges over \[1.5, 1.5\], outside its bounds \[0, 1\]"),
        (torch.full((2, 1, 4, 4), -2.4), "standardisation belongs into the model"),
        (torch.full((2, 1, 4, 4), torch.nan), "not finite numbers, in 2 of 2 examples"),
    ],
)
def test_data_of_the_wrong_kind_is_refused(net, x, message):
    with pytest.raises(DataError, match=message):
        robustfw.worst_case(net, x, torch.zeros(2).long(), uncertainty="linf", attack="single-step")


def test_an_attack_of_the_wrong_shape_is_named(net, batch):
    class Flat(Attack):
        def maximize(self, problem, generator):
            return problem.region.zero().flatten(1)

    x, y = batch
    with pytest.raises(PluginError, match=r"Flat returned \(12, 16\)"):
        robustfw.worst_case(net, x, y, uncertainty="linf", attack=Flat())


def test_the_generator_alone_decides(net, batch):
    x, y = batch
    net.eval()

    def attacked(seed):
        generator = torch.Generator().manual_seed(seed)
        return robustfw.worst_case(net, x, y, uncertainty="linf", attack="pgd:steps=2", generator=generator)

    first = attacked(1)
    torch.manual_seed(99)
    assert torch.equal(attacked(1), first)
    assert not torch.equal(attacked(2), first)


def test_a_model_with_a_gradient_of_zero_is_survived(batch):
    x, y = batch
    blind = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    nn.init.zeros_(blind[1].weight)
    for attack in ATTACKS:
        moved = robustfw.worst_case(blind, x, y, uncertainty="l2", attack=attack)
        assert moved.isfinite().all()


def test_margin_and_cross_entropy_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    y = torch.tensor([0, 2])
    assert losses.margin(logits, y).tolist() == [-1.0, 2.0]
    assert losses.misclassified(logits, y).tolist() == [False, True]
    expected = torch.logsumexp(logits, 1) - torch.tensor([2.0, 1.0])
    torch.testing.assert_close(losses.cross_entropy(logits, y), expected)
    assert losses.misclassified(torch.tensor([[torch.nan, 0.0]]), torch.tensor([0])).tolist() == [True]
