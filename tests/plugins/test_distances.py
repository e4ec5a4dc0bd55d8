"""Minimal-distance attacks: nets whose nearest adversarial example is known, and what must hold on any net."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import robustfw
from robustfw import UsageError, losses
from robustfw.inner.problem import InnerProblem
from robustfw.regions import norms

from .maximizing import maximize

NEAREST = ["lbfgs", "lbfgs:target=best", "cw", "deepfool"]
EVERYWHERE = 100.0
"""A radius that holds nothing back."""


def net(classes, features=6, hidden=0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    sizes = [features, *([hidden] if hidden else []), classes]
    layers = []
    for before, after in itertools.pairwise(sizes):
        layer = nn.Linear(before, after, dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(after, before, generator=generator))
            layer.bias.copy_(0.3 * torch.randn(after, generator=generator))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def images(n=24, features=6, seed=1, dtype=torch.float64):
    return torch.rand(n, features, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def problem(model, x, y=None, spec=f"l2:radius={EVERYWHERE}", *, box=False, criterion=losses.misclassified):
    region = robustfw.make("uncertainty", spec).at(x)
    y = model(x).argmax(1) if y is None else y
    return InnerProblem(model, losses.cross_entropy, x, y, region.clip(0 - x, 1 - x) if box else region, criterion)


def to_the_border(layer, x, norm):
    """min over k ≠ y of |z_k − z_y| / ‖w_k − w_y‖, in the dual norm: exact for a linear net without a box."""
    logits = layer(x)
    y = logits.argmax(1)
    slopes = layer.weight[None] - layer.weight[y][:, None]
    heights = (logits - logits.gather(1, y[:, None])).abs()
    length = slopes.norm(dim=2) if norm == "l2" else slopes.abs().sum(2)
    return torch.where(length > 0, heights / length, torch.inf).amin(1)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-5), (torch.float32, 1e-4)])
def test_deepfool_is_exact_for_a_linear_net(norm, classes, dtype, close):
    model, x = net(classes, dtype=dtype), images(dtype=dtype)
    p = problem(model, x)
    delta = maximize(f"deepfool:norm={norm}", p)
    length = norms(delta) if norm == "l2" else delta.abs().amax(1)
    torch.testing.assert_close(length, to_the_border(model[0], x, norm), rtol=close, atol=0)
    assert p.value(delta).isposinf().all()


@pytest.mark.parametrize(
    ("attack", "classes", "median", "most"),
    [
        ("lbfgs", 2, 0.01, 0.01),
        ("cw", 2, 0.01, 0.01),
        ("cw", 5, 0.01, 0.06),
        ("lbfgs:target=best", 5, 0.05, 0.25),  # cross-entropy's curve of minimizers bends away from the other classes
    ],
)
def test_lbfgs_and_cw_come_close_for_a_linear_net(attack, classes, median, most):
    model, x = net(classes), images()
    p = problem(model, x)
    delta, least = maximize(attack, p), to_the_border(model[0], x, "l2")
    beyond = norms(delta) / least - 1
    assert p.value(delta).isposinf().all()
    assert beyond.amin() >= -1e-9
    assert beyond.median() <= median
    assert beyond.amax() <= most


def nearest_in_the_box(w, height, x):
    """min ‖δ‖₂ with ⟨w, δ⟩ ≥ height and 0 ≤ x + δ ≤ 1: δ = clip(λw), λ by bisection, in plain numbers."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if (middle * w).clamp(0 - x, 1 - x) @ w >= height else (middle, high)
    return (high * w).clamp(0 - x, 1 - x)


@pytest.mark.parametrize(("attack", "close"), [("lbfgs", 0.03), ("cw", 0.05), ("deepfool", 0.25)])
def test_the_data_range_is_reckoned_with(attack, close):
    """A binary linear net, images half of whose pixels are black or white: the nearest δ within the box is known."""
    model, x = net(2, features=20), images(features=20)
    x[:, ::2] = x[:, ::2].round()
    p = problem(model, x, spec="linf:radius=1", box=True)
    delta = maximize(attack, p)
    solved = p.value(delta).isposinf()
    for i in range(len(x)):
        y = int(p.y[i])
        w, z = model[0].weight[1 - y] - model[0].weight[y], model(x[i : i + 1])[0]
        height = float(z[y] - z[1 - y])
        reachable = float((w > 0).double() @ (w * (1 - x[i])) - (w < 0).double() @ (w * x[i])) > height
        assert bool(solved[i]) == reachable
        if reachable:
            least = float(nearest_in_the_box(w, height, x[i]).norm())
            assert least * (1 - 1e-6) <= float(delta[i].norm()) <= least * (1 + close)


@pytest.mark.parametrize("attack", NEAREST)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 4),
    spec=st.sampled_from(["linf:radius=1", "linf:radius=0.1", "l2:radius=0.5", "l1:radius=0.7", "l0:radius=2"]),
)
@settings(max_examples=8)
def test_members_only_and_what_is_called_solved_is_misclassified(attack, seed, classes, spec):
    model, x = net(classes, hidden=8, seed=seed), images(6, seed=seed)
    y = torch.arange(6) % classes
    p = problem(model, x, y, spec, box=True)
    delta = maximize(attack, p)
    assert (p.region.violation(delta) <= 1e-9).all()
    judged = model(x + delta).argmax(1) != y
    assert torch.equal(judged, p.value(delta).isposinf())
    already = model(x).argmax(1) != y
    assert (delta[already] == 0).all()
    assert judged[already].all()


@pytest.mark.parametrize("attack", ["lbfgs", "cw", "pgd", "targeted:attack=lbfgs"])
@given(seed=st.integers(0, 10_000), spec=st.sampled_from(["linf:radius=0.1", "l2:radius=0.5", "l0:radius=2"]))
@settings(max_examples=8)
def test_without_a_criterion_the_value_never_falls(attack, seed, spec):
    model, x = net(3, hidden=8, seed=seed), images(6, seed=seed)
    p = problem(model, x, torch.arange(6) % 3, spec, box=True, criterion=None)
    assert (p.value(maximize(attack, p)) >= p.value(p.region.zero()) - 1e-12).all() or attack == "pgd"


@pytest.mark.parametrize("attack", NEAREST)
def test_a_net_that_can_be_fooled_is_fooled_everywhere(attack):
    model, x = net(4, hidden=16, features=12, seed=3), images(40, features=12)
    p = problem(model, x, spec="linf:radius=1", box=True)
    found, strongest = (
        p.value(maximize(attack, p)).isposinf(),
        p.value(maximize("restarts:attack=(pgd:steps=40)", p)).isposinf(),
    )
    assert strongest.sum() > 20
    assert found[strongest].double().mean() > 0.95


@pytest.mark.parametrize("attack", NEAREST)
@pytest.mark.parametrize("kind", ["constant", "one class", "dead", "not a number", "no gradient"])
def test_nets_without_a_way_out_end_soon_and_leave_the_image(attack, kind):
    def logits(moved):
        flat = {
            "constant": torch.tensor([1.0, 0.0, 0.0]),
            "one class": torch.tensor([1.0]),
            "dead": torch.tensor([1.0, 0.0, 0.0]),
            "no gradient": torch.tensor([1.0, 0.0, 0.0]),
            "not a number": torch.tensor([1.0, 0.0, 0.0]),
        }[kind].expand(len(moved), -1)
        if kind == "no gradient":
            return flat
        if kind == "dead":
            return flat + (moved.sum(1, keepdim=True) - 100).clamp(min=0)
        if kind == "not a number":  # the gradient is, the logits are fine
            return flat + 0 * (moved - moved).norm(dim=1, keepdim=True)
        return flat + 0 * moved.sum(1, keepdim=True)

    x = images(4, dtype=torch.float32)
    p = problem(logits, x, torch.zeros(4, dtype=torch.long), "linf:radius=1", box=True)
    assert (maximize(attack, p) == 0).all()
    assert p.passes.forward < 4 * 4000


@pytest.mark.parametrize("attack", NEAREST)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_and_empty_batches(attack, dtype):
    model, x = net(3, dtype=torch.float32), images(8, dtype=dtype)
    p = problem(lambda moved: model(moved.float()), x, spec="l2:radius=1", box=True)
    delta = maximize(attack, p)
    assert delta.dtype == dtype
    assert (p.region.violation(delta) <= 1e-3).all()
    assert p.value(delta).isposinf().double().mean() > 0.5
    assert maximize(attack, p[:0]).shape == (0, 6)
    nowhere = problem(lambda moved: model(moved.float()), x, spec="l2:radius=0", box=True)
    assert (maximize(attack, nowhere) == 0).all()


def test_deepfool_goes_to_the_nearer_of_two_borders_and_with_a_target_to_its_own():
    model = nn.Linear(2, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    model.requires_grad_(False)
    x = torch.tensor([[-0.2, -0.5]], dtype=torch.float64)
    p = problem(model, x)
    torch.testing.assert_close(
        maximize("deepfool", p), torch.tensor([[0.2, 0.0]], dtype=torch.float64), atol=1e-5, rtol=0
    )
    other = maximize("deepfool", p.with_target(torch.tensor([2])))
    torch.testing.assert_close(other, torch.tensor([[0.0, 0.5]], dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("attack", ["lbfgs:target={}", "targeted:target={}"])
def test_targets_are_the_second_the_last_a_random_and_the_best(attack):
    model, x = net(4), images(40)
    p = problem(model, x, spec="l2:radius=3")
    ranked = model(x).argsort(1, descending=True)
    ended = {which: model(x + maximize(attack.format(which), p)).argmax(1) for which in ("second", "least-likely")}
    assert (ended["second"] == ranked[:, 1]).double().mean() > 0.7
    last = {which: (label == ranked[:, 3]).double().mean() for which, label in ended.items()}
    assert last["least-likely"] > last["second"] + 0.15
    again = [maximize(attack.format("random"), p, seed) for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])
    assert p.value(maximize(attack.format("best"), p)).isposinf().all()


def test_the_best_target_is_as_near_as_any():
    p = problem(net(5, hidden=8), images(), spec="l2:radius=10")
    best, second = (norms(maximize(f"lbfgs:target={which}", p)) for which in ("best", "second"))
    assert (best <= second * (1 + 1e-9)).all()
    assert best.mean() < second.mean()


@pytest.mark.parametrize("seed", range(6))
def test_lbfgs_without_a_criterion_finds_what_scipy_finds(seed):
    """max −½⟨δ − p, A(δ − p)⟩ over a box is a convex question: there is one answer."""
    optimize = pytest.importorskip("scipy.optimize")
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(10, 10, generator=generator, dtype=torch.float64)
    bend, top = root @ root.T + 0.1 * torch.eye(10), torch.randn(10, generator=generator, dtype=torch.float64)

    def hill(moved):
        away = moved - 0.5 - top
        return -0.5 * (away @ bend * away).sum(1)

    x = torch.full((1, 10), 0.5, dtype=torch.float64)
    found = maximize(
        "lbfgs:steps=200", InnerProblem.from_function(hill, x, robustfw.make("uncertainty", "linf:radius=0.3").at(x))
    )
    exact = optimize.minimize(
        lambda flat: 0.5 * (flat - top.numpy()) @ bend.numpy() @ (flat - top.numpy()),
        torch.zeros(10).numpy(),
        jac=lambda flat: bend.numpy() @ (flat - top.numpy()),
        method="L-BFGS-B",
        bounds=[(-0.3, 0.3)] * 10,
        options={"ftol": 1e-15, "gtol": 1e-10},
    ).x
    assert (torch.from_numpy(exact).abs() > 0.299).any()
    torch.testing.assert_close(found[0], torch.from_numpy(exact), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "spec",
    ["lbfgs:target=third", "lbfgs:steps=0", "lbfgs:rounds=0", "cw:step=0", "cw:steps=0", "deepfool:norm=l1",
     "deepfool:overshoot=0", "deepfool:candidates=0", "targeted:target=worst"],
)  # fmt: skip
def test_wrong_options_are_refused(spec):
    with pytest.raises(UsageError):
        robustfw.make("attack", spec)


def test_a_target_needs_labels():
    with pytest.raises(UsageError, match="only a problem with class labels has targets"):
        problem(net(3), images(), torch.zeros(24)).with_target(torch.zeros(24, dtype=torch.long))
