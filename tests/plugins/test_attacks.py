"""Attacks: what each is by definition, on problems small enough to know the answer."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import UsageError
from robustfw.inner.problem import InnerProblem

from .maximizing import maximize


def problem(function, x, spec="linf:radius=0.2", box=True):
    region = robustfw.make("uncertainty", spec).at(x)
    return InnerProblem.from_function(function, x, region.clip(0 - x, 1 - x) if box else region)


X = torch.full((4, 3), 0.5, dtype=torch.float64)


def bumpy(moved):
    """Two hills; the gradient at x leads up the lower one."""
    t = moved[:, 0] - 0.5
    return torch.where(t > 0, t, -0.5 * t + 4 * t**2)


def test_single_step_is_one_support_call():
    """Eq. 11, and over ℓ∞ eq. 2: ε·sign(∇J)."""
    w = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    p = problem(lambda moved: moved @ w, X)
    torch.testing.assert_close(maximize("single-step", p), 0.2 * w.sign().expand(4, 3))
    assert (p.passes.forward, p.passes.backward) == (4, 4)


def test_fgsm_rs_is_a_random_start_a_long_step_and_a_projection():
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    p = problem(lambda moved: moved @ w, X)
    start = p.region.sample(torch.Generator().manual_seed(3))
    expected = (start + 1.25 * 0.2 * w.sign()).clamp(-0.2, 0.2)
    torch.testing.assert_close(maximize("single-step:random_start=true,step=1.25", p, 3), expected)


def test_pgd_with_one_full_step_from_zero_is_the_single_step():
    p = problem(lambda moved: (moved**2).sum(1), torch.rand(4, 3, dtype=torch.float64))
    for spec in ("linf", "l2", "l1"):
        p = problem(lambda moved: (moved**2).sum(1), torch.rand(4, 3, dtype=torch.float64), spec)
        once = maximize("pgd:steps=1,step=1,random_start=false,result=last", p)
        torch.testing.assert_close(once, maximize("single-step", p))


def test_pgd_keeps_the_best_iterate_of_each_example():
    """On an objective that falls after a peak the last iterate is worse than the best."""
    p = problem(lambda moved: -((moved[:, 0] - 0.55) ** 2), X)
    best = maximize("pgd:steps=9,step=1,random_start=false", p)
    last = maximize("pgd:steps=9,step=1,random_start=false,result=last", p)
    assert (p.value(best) >= p.value(last)).all()
    assert (p.value(best) >= p.value(p.region.zero())).all()


def test_the_last_iterate_is_scored_too():
    p = problem(lambda moved: moved.sum(1), X)
    assert (maximize("pgd:steps=1,step=1,random_start=false", p) == 0.2).all()


def test_pgd_fools_what_one_step_cannot():
    def hole(moved):
        return -torch.cos(2 * torch.pi * (moved[:, 0] - 0.5) / 0.2) + 0.1 * moved[:, 0]

    p = problem(hole, X)
    assert (p.value(maximize("pgd:steps=20,step=0.1,random_start=false", p)) > 0.9).all()
    assert (p.value(maximize("single-step", p)) < 0).all()


@pytest.mark.parametrize("spec", ["linf:radius=0.2", "l2:radius=0.3", "l1:radius=0.6"])
def test_pgd_settles_on_a_maximum_that_steps_of_one_length_straddle(spec):
    """A hill of height 0 inside the set: what a step overshoots, the next ones make up for."""
    top = X + torch.tensor([0.03, -0.11, 0.07])
    p = problem(lambda moved: -(moved - top).square().sum(1).sqrt(), X, spec)
    settled, straddling = (p.value(maximize(f"pgd:steps=40{step}", p)) for step in ("", ",step=0.0625"))
    assert (settled > -0.02).all()
    assert settled.mean() > 0.7 * straddling.mean()


@pytest.mark.parametrize("spec", ["linf:radius=0.2", "l2:radius=1", "l1:radius=2"])
def test_pgd_from_anywhere_takes_what_a_linear_function_gives(spec):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(16, 40, generator=generator, dtype=torch.float64)
    w = torch.randn(40, generator=generator, dtype=torch.float64)
    p = problem(lambda moved: moved @ w, x, spec)
    gained, most = (p.value(maximize(attack, p)) - x @ w for attack in ("pgd:steps=40", "single-step"))
    assert (gained > 0.98 * most).all()


def test_pgd_over_sparse_changes_is_stronger_than_one_step():
    """Which entries move is chosen by the gradient, and chosen again: 40 steps once fooled 15 where one fooled 193."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(30, 60), torch.nn.Tanh(), torch.nn.Linear(60, 1)).double()
    x = torch.rand(64, 30, generator=generator, dtype=torch.float64)
    p = problem(lambda moved: net(moved)[:, 0], x, "l0:radius=4")
    once, many = (p.value(maximize(attack, p)) for attack in ("single-step", "pgd:steps=20"))
    assert many.mean() > once.mean()
    assert (many > once - 1e-9).double().mean() > 0.9


def test_momentum_carries_on_through_a_flat_place():
    def stairs(moved):
        t = moved[:, 0] - 0.5
        return torch.where(t < 0.05, t, torch.where(t > 0.08, t - 0.03, torch.full_like(t, 0.05)))

    p = problem(stairs, X)
    plain = maximize("pgd:steps=12,step=0.15,random_start=false", p)
    carried = maximize("pgd:steps=12,step=0.15,random_start=false,momentum=0.9", p)
    assert (p.value(carried) > p.value(plain) + 0.05).all()


def test_restarts_take_the_worst_of_each_example():
    x = torch.full((64, 1), 0.5, dtype=torch.float64)
    p = problem(bumpy, x)
    once = p.value(maximize("pgd:steps=3", p))
    many = p.value(maximize("restarts:n=10,attack=(pgd:steps=3)", p))
    assert (many >= p.value(maximize("restarts:n=1,attack=(pgd:steps=3)", p)) - 1e-12).all()
    assert many.min() > once.min()


def test_strongest_is_as_strong_as_each():
    x = torch.rand(32, 6, dtype=torch.float64)
    w = torch.randn(6, dtype=torch.float64)
    p = problem(lambda moved: torch.sin(5 * moved) @ w, x, "l1:radius=1")
    joined = p.value(maximize("strongest:attacks=[(pgd:random_start=false),frank-wolfe,single-step]", p))
    for attack in ("pgd:random_start=false", "frank-wolfe", "single-step"):
        assert (joined >= p.value(maximize(attack, p)) - 1e-12).all()


def test_random_is_the_best_of_its_samples():
    p = problem(lambda moved: moved.sum(1), X)
    few, many = (p.value(maximize(f"random:samples={n}", p)).mean() for n in (1, 200))
    assert few < many <= p.value(maximize("single-step", p)).mean()


def test_frank_wolfe_needs_no_projection_and_a_convex_set():
    p = problem(lambda moved: -((moved - 0.55) ** 2).sum(1), X, "l2:radius=0.5")
    delta = maximize("frank-wolfe:steps=200", p)
    torch.testing.assert_close(delta, torch.full_like(X, 0.05), atol=0.01, rtol=0)
    with pytest.raises(UsageError, match="frank-wolfe needs a convex set"):
        maximize("frank-wolfe", problem(lambda moved: moved.sum(1), X, "l0"))


def test_steps_are_relative_to_the_set_and_spent_where_there_is_room():
    """In ℓ1 a full step from the corner goes to the next best coordinates, not into the wall."""
    x = torch.tensor([[0.9, 0.5, 0.5]], dtype=torch.float64)
    w = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    p = problem(lambda moved: moved @ w, x, "l1:radius=0.4")
    moves = [p.region.ascent(w[None], delta, 1.0) for delta in (p.region.zero(), torch.tensor([[0.1, 0.4, 0.0]]))]
    torch.testing.assert_close(moves[0], torch.tensor([[0.1, 0.3, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(moves[1], torch.tensor([[0.0, 0.1, 0.3]], dtype=torch.float64))
    assert float(p.value(maximize("pgd:steps=40,random_start=false", p))) > 0.97 * float(
        p.value(maximize("single-step", p))
    )


@pytest.mark.parametrize("spec", ["pgd:steps=0", "pgd:step=0", "pgd:direction=up", "random:samples=0", "restarts:n=0"])
def test_wrong_options_are_refused(spec):
    with pytest.raises(UsageError):
        robustfw.make("attack", spec)
