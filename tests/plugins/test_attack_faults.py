"""What attacks once got wrong without a word, each held against an answer that is known."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn import functional

import robustfw
from robustfw import losses
from robustfw.inner.problem import InnerProblem
from robustfw.regions import norms
from robustfw.testing.problems import Blend

from .linear_problems import CLIMBING, EVERY, NEAREST, TARGETED, images, linear_net, problem, solved_rows
from .maximizing import maximize

# Small gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["linf:radius=0.15", "l2:radius=0.3"])
@pytest.mark.parametrize("attack", [*CLIMBING, *NEAREST, *TARGETED])
def test_a_confident_net_is_fooled_where_its_calm_twin_is(attack, spec):
    """Logits times 60: the same border, cross-entropy's gradients down to 1e-38. A binary linear net: all is known."""
    calm, x = linear_net(2), images()
    confident = linear_net(2, scale=60.0)
    y = calm(x).argmax(1)
    slope = calm.weight[1] - calm.weight[0]
    reach = 0.15 * slope.abs().sum() if spec.startswith("linf") else 0.3 * slope.norm()
    height = (calm(x)[:, 1] - calm(x)[:, 0]).abs()
    sure = (height - reach).abs() > 0.05 * reach
    loss = losses.cross_entropy(confident(x), y)
    assert ((loss < 1e-20) & (height < reach)).any()
    assert torch.equal(solved_rows(attack, problem(confident, x, y, spec))[sure], (height < reach)[sure])


@pytest.mark.parametrize("attack", [*CLIMBING, "lbfgs", "cw", "deepfool"])
def test_gradients_that_are_barely_numbers_are_followed(attack):
    """Float32's smallest normal number is 1e-38, a gradient of 1e-40 is kept with fewer digits."""
    w = torch.tensor([3.0, -2.0, 1.0, 0.0])
    x = torch.full((2, 4), 0.5)
    region = robustfw.make("uncertainty", "l2:radius=0.3").at(x)
    p = InnerProblem.from_function(lambda moved: ((moved - 0.5) @ w) * 1e-40, x, region)
    best = 0.3 * w / w.norm()
    assert ((maximize(attack, p) @ best) / 0.09 > 0.7).all()


@pytest.mark.parametrize(("attack", "scale"), [("cw", 1.0), ("deepfool", 1.0), ("lbfgs", 1e-4)])
def test_a_net_of_faint_logits_has_its_border_where_its_louder_twin_has(attack, scale):
    """Cross-entropy is linear in logits that are all but 0: lbfgs goes another way there than for loud ones."""
    louder, faint, x = linear_net(3, scale=scale), linear_net(3, scale=1e-25), images()
    y = louder(x).argmax(1)
    found = [maximize(attack, problem(net, x, y, "l2:radius=10")) for net in (louder, faint)]
    assert problem(faint, x, y, "l2:radius=10").value(found[1]).isposinf().all()
    torch.testing.assert_close(*map(norms, found), rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("attack", ["pgd:random_start=false", "apgd:random_start=false", "frank-wolfe", "lbfgs"])
def test_an_ascent_goes_on_where_the_loss_is_too_flat_for_its_numbers(attack):
    """−log softmax of e^-50 is 0 in float32 at each iterate: the last one is as good as the first, and farther on."""
    net, x = linear_net(2, scale=40.0), images()
    y = net(x).argmax(1)
    p = problem(net, x, y, "l2:radius=0.01", criterion=None)
    value, gradient = p.value_and_grad(p.region.zero())
    flat = (value == 0) & (gradient != 0).any(1)
    assert flat.sum() > 10
    gained = losses.margin(net(x + maximize(attack, p)), y) - losses.margin(net(x), y)
    reach = 0.01 * (net.weight[1] - net.weight[0]).norm()
    assert (gained[flat] > 0.9 * reach).all()


# Logits at the edge --------------------------------------------------------------------------------------------------


def masked(net, value):
    """A class before the others and one behind that no example can be of."""
    return lambda moved: functional.pad(net(moved), (1, 1), value=value)


@pytest.mark.parametrize("value", [-torch.inf, -1e30])
@pytest.mark.parametrize("attack", EVERY)
def test_masked_classes_change_nothing(attack, value):
    net, x = linear_net(4), images()
    y = net(x).argmax(1) + 1
    found = [solved_rows(attack, problem(masked(net, number), x, y)) for number in (value, -1e4)]
    assert torch.equal(*found)


@pytest.mark.parametrize("attack", EVERY)
def test_two_classes_one_of_them_masked_leave_no_way_out(attack):
    x = images(4)
    p = problem(
        lambda moved: functional.pad(moved.sum(1, keepdim=True), (0, 1), value=-torch.inf), x, torch.zeros(4).long()
    )
    delta = maximize(attack, p)
    assert delta.isfinite().all()
    assert not p.value(delta).isposinf().any()


@pytest.mark.parametrize("attack", EVERY)
def test_a_logit_of_1e30_is_a_number_like_others(attack):
    """The other classes are nowhere near, and δ is a member."""
    net, x = linear_net(3), images(8)
    p = problem(lambda moved: functional.pad(net(moved), (1, 0), value=1e30), x, torch.zeros(8, dtype=torch.long))
    delta = maximize(attack, p)
    assert (p.region.violation(delta) <= 1e-6).all()
    assert not p.value(delta).isposinf().any()


@pytest.mark.parametrize("attack", [*CLIMBING, *NEAREST, *TARGETED])
def test_wrong_classes_that_always_tie_are_one_class_twice(attack):
    net, x = linear_net(2), images()
    x = x[net(x).argmax(1) == 1]
    y = torch.zeros(len(x), dtype=torch.long)  # the columns are turned round below
    reach = 0.3 * (net.weight[1] - net.weight[0]).norm()
    sure = ((net(x)[:, 1] - net(x)[:, 0]) - reach).abs() > 0.02
    once = solved_rows(attack, problem(lambda moved: net(moved)[:, [1, 0]], x, y))
    twice = solved_rows(attack, problem(lambda moved: net(moved)[:, [1, 0, 0]], x, y))
    assert once.any()
    assert torch.equal(once[sure], twice[sure])


@pytest.mark.parametrize("which", ["second", "least-likely", "best"])
def test_the_label_is_never_its_own_target(which):
    """A masked class stood behind the label once, and the last place was cut off."""
    from robustfw_attacks.targets import targets

    logits = torch.tensor([[0.0, 2.0, 1.0, -torch.inf], [3.0, -torch.inf, -torch.inf, -torch.inf]])
    y = torch.tensor([1, 0])
    p = problem(lambda moved: logits[: len(moved)], images(2), y)
    chosen = torch.stack(targets(p, logits, which, torch.Generator()), 1)
    assert (chosen != y[:, None]).all()
    assert chosen[0].tolist() == {"second": [2], "least-likely": [3], "best": [2, 0, 3]}[which]


# Types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", ["l2:radius=0.3", "l1:radius=0.5", "linf:radius=0.1"])
def test_half_precision_gives_finite_members(attack, dtype, spec):
    net, x = linear_net(5), images(16, dtype=dtype)
    p = problem(lambda moved: net(moved.float()).to(dtype), x, net(x.float()).argmax(1), spec)
    for criterion in (losses.misclassified, None):
        delta = maximize(attack, attrs.evolve(p, criterion=criterion))
        assert delta.dtype == dtype
        assert delta.isfinite().all()
        assert (p.region.violation(delta) <= 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_deepfool_takes_any_number_of_steps(dtype):
    """4^600 is no number; a row that the set never lets go keeps at it."""
    net, x = linear_net(3, dtype=torch.float64), images(8)
    p = problem(
        lambda moved: net(moved.double()).to(dtype).tanh(), x.to(dtype), net(x.double()).argmax(1), "l2:radius=0.01"
    )
    delta = maximize("deepfool:steps=600", p)
    assert (p.region.violation(delta) <= 1e-6).all()


def test_a_value_beyond_half_precision_is_not_taken_for_a_solved_row():
    x = torch.ones(2, 3, dtype=torch.float16)
    region = robustfw.make("uncertainty", "linf:radius=0.5").at(x)
    p = InnerProblem.from_function(lambda moved: 3e4 * moved.float().sum(1), x, region)
    assert (maximize("restarts:n=2,attack=(single-step)", p) == 0.5).all()
    assert (maximize("pgd:random_start=false", p) == 0.5).all()


# Sets whose δ is not shaped like x -----------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", EVERY)
def test_a_set_of_two_numbers_is_searched_like_any_other(attack):
    net, x = linear_net(3), images()
    y = net(x).argmax(1)
    p = InnerProblem(net, losses.cross_entropy, x, y, Blend.at(x), losses.misclassified)
    found = solved_rows(attack, p)
    grid = torch.cartesian_prod(torch.linspace(-0.5, 0.5, 21), torch.linspace(-0.2, 0.2, 21))
    fooled = torch.stack([p.value(pair.expand(len(x), 2)).isposinf() for pair in grid]).any(0)
    assert fooled.any()
    weak = attack == "random" or "least-likely" in attack
    assert found[fooled].double().mean() > (0.4 if weak else 0.85)


# What is near ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ["lbfgs", "cw", "deepfool"])
def test_with_a_criterion_the_result_is_near_and_without_one_it_is_bad(attack):
    """l2:radius=20 around digits-like points: the border is some tenths away, the worst case as far as the set is."""
    net, x = linear_net(3), images()
    y = net(x).argmax(1)
    p = problem(net, x, y, "l2:radius=20")
    near = maximize(attack, p)
    assert p.value(near).isposinf().all()
    assert norms(near).median() < 1
    anywhere = attrs.evolve(p, criterion=None)
    far = maximize(attack, anywhere)
    if attack == "deepfool":  # ends just beyond the border
        assert norms(far).median() < 1
    else:
        assert norms(far).median() > 10
        assert (anywhere.value(far) > anywhere.value(near)).all()
