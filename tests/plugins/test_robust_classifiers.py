"""Robust linear classifiers: the hinge with a ball around each example, and with one budget for all (section 3.1).

Each theorem is held against worst cases, cuts that know only these, and an outside solver; so are variants.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import minimize

import robustfw
from robustfw_linear import Box, Budget, Polytope, RobustHinge, RobustSVM

from .outside_solver import minimum

COORDINATES = st.floats(-2, 2, width=16)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def examples(seed, flipped=3, count=14):
    """Two classes, of which some labels are wrong: not separable for seeds that are used here."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 3))
    labels = np.where(x[:, 0] + 0.3 * x[:, 1] > 0, 1.0, -1.0)
    labels[:flipped] *= -1
    return x, labels


# Hinge: a ball around each example


@pytest.mark.parametrize("norm", DUAL)
@given(x=arrays.arrays(float, 4, elements=COORDINATES))
def test_the_worst_margin_is_the_margin_less_the_dual_norm(norm, x):
    """max over ‖δ‖ ≤ ε of J(y(⟨w, x + δ⟩ + b)) = J(y(⟨w, x⟩ + b) − ε‖w‖_*)."""
    points, labels = examples(0)
    problem = RobustHinge(points, labels, f"{norm}:radius=0.3")
    margins = labels * (points @ x[:-1] + x[-1])
    penalized = np.maximum(0, 1 - margins + 0.3 * np.linalg.norm(x[:-1], DUAL[norm]))
    assert problem.losses(x) == pytest.approx(penalized, abs=1e-10)


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("seed", range(3))
def test_robust_hinge_has_the_penalty_inside_the_loss(cvxpy, norm, seed):
    points, labels = examples(seed)
    w, b = cvxpy.Variable(3), cvxpy.Variable()
    margins = cvxpy.multiply(labels, points @ w + b)
    penalty = 0.2 * cvxpy.norm(w, DUAL[norm])
    inside = minimum(cvxpy, cvxpy.sum(cvxpy.pos(1 - margins + penalty)))
    problem = RobustHinge(points, labels, f"{norm}:radius=0.2")
    for method in ("cutting-set", "reformulation"):
        assert problem.solve(method).value == pytest.approx(inside, abs=1e-6)


@pytest.mark.parametrize("norm", DUAL)
def test_the_penalty_outside_of_the_loss_and_the_norm_itself_are_other_problems(cvxpy, norm):
    """Wrong variants: Σ hinge + mε‖w‖_*, squared loss with the same penalty inside, and ‖w‖ in place of ‖w‖_*."""
    points, labels = examples(1)
    w, b = cvxpy.Variable(3), cvxpy.Variable()
    margins = cvxpy.multiply(labels, points @ w + b)
    penalty = 0.2 * cvxpy.norm(w, DUAL[norm])
    robust = RobustHinge(points, labels, f"{norm}:radius=0.2").solve().value
    outside = minimum(cvxpy, cvxpy.sum(cvxpy.pos(1 - margins)) + len(labels) * penalty)
    assert outside > robust + 0.01
    if norm != "l2":
        primal = 0.2 * cvxpy.norm(w, {"linf": np.inf, "l1": 1}[norm])
        assert abs(minimum(cvxpy, cvxpy.sum(cvxpy.pos(1 - margins + primal))) - robust) > 0.01


def test_a_data_range_leaves_less_than_the_dual_norm(cvxpy):
    """Wrong variant: within [0, 1] the worst margin is above y(⟨w, x⟩ + b) − ε‖w‖_*."""
    points, labels = examples(2)
    points = (points > 0).astype(float)
    bare, boxed = (RobustHinge(points, labels, "linf:radius=0.3", data_range=limits) for limits in (None, (0.0, 1.0)))
    assert boxed.solve().value < bare.solve().value - 0.01
    assert boxed.solve().value == pytest.approx(boxed.solve("reformulation").value, abs=1e-7)
    w, b, pull = cvxpy.Variable(3), cvxpy.Variable(), 0.3 * np.ones((len(labels), 3))
    down, up = np.minimum(pull, points - 0), np.minimum(pull, 1 - points)
    losses = [
        cvxpy.pos(1 - y * (x @ w + b) + low @ cvxpy.pos(y * w) + high @ cvxpy.neg(y * w))
        for x, y, low, high in zip(points, labels, down, up, strict=True)
    ]
    assert boxed.solve().value == pytest.approx(minimum(cvxpy, sum(losses)), abs=1e-7)


@pytest.mark.parametrize(
    "sets", [Budget(0.3, 1.5), Box(0.1, 0.3), Polytope([[0.5, 0, 0], [-0.1, 0.2, 0], [0, -0.2, 0]])]
)
def test_other_sets_around_each_example(sets):
    """Not symmetric ones too: where y = 1 the margin falls with −w, where y = −1 with w."""
    problem = RobustHinge(*examples(0), sets)
    assert problem.solve().value == pytest.approx(problem.solve("reformulation").value, abs=1e-7)


def test_the_online_method_trains_a_classifier():
    problem = RobustHinge(*examples(0), "linf:radius=0.2")
    found, best = problem.solve("online", accuracy=0.05), problem.solve().value
    assert found.violation <= 0.05
    assert best - 1e-9 <= found.value <= best + 0.05 * len(problem.labels)


def test_it_is_what_adversarial_training_minimizes():
    """eq. 9 for a linear net and its hinge loss: no net in a neighbourhood of the optimum has a lower robust loss."""
    points, labels = examples(0)
    problem = RobustHinge(points, labels, "l2:radius=0.2")
    found = problem.solve()
    ball = robustfw.make("uncertainty", "l2:radius=0.2")

    def robust_loss(x):
        weights = torch.as_tensor(x[:-1]).expand(len(labels), 3)
        direction = -torch.as_tensor(labels)[:, None] * weights
        moved = torch.as_tensor(points) + ball.at(torch.as_tensor(points)).support(direction)
        return float((1 - torch.as_tensor(labels) * ((moved * weights).sum(1) + x[-1])).clamp(min=0).sum())

    assert robust_loss(found.x) == pytest.approx(found.value)
    better = minimize(robust_loss, found.x + 0.05, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    assert better.fun >= found.value - 1e-7


# Support vector machine: one budget for all examples


@pytest.mark.parametrize("norm", DUAL)
@given(x=arrays.arrays(float, 4, elements=COORDINATES))
def test_one_budget_for_all_examples_adds_the_dual_norm_where_some_margin_is_below_one(norm, x):
    """Xu et al. 2009: at every (w, b) of data that are not separable; attained by moving one example."""
    points, labels = examples(0)
    problem = RobustSVM(points, labels, 0.8, norm)
    assert not problem.separable
    delta = problem.worst_case(x)
    assert problem.robust_loss(x) == pytest.approx(problem.regularized_loss(x), abs=1e-10)
    assert (delta != 0).any(1).sum() <= 1
    assert np.linalg.norm(delta, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1).sum() <= 0.8 + 1e-12


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("budget", [0.0, 0.3, 2.0])
def test_the_coupled_set_is_the_support_vector_machine_if_the_data_are_not_separable(cvxpy, norm, budget):
    points, labels = examples(0)
    problem = RobustSVM(points, labels, budget, norm)
    w, b = cvxpy.Variable(3), cvxpy.Variable()
    losses = cvxpy.sum(cvxpy.pos(1 - cvxpy.multiply(labels, points @ w + b)))
    outside = minimum(cvxpy, losses + budget * cvxpy.norm(w, DUAL[norm]))
    assert problem.solve().value == pytest.approx(outside, abs=1e-6)
    assert problem.solve_regularized().value == pytest.approx(outside, abs=1e-6)


def test_it_is_not_if_the_data_are_separable():
    """Wrong variant: at x = ±1 with c < 1, a steep w keeps every example beyond its margin: 0, not c."""
    problem = RobustSVM([[1.0], [-1.0]], [1, -1], 0.5)
    assert problem.separable
    assert problem.solve().value == pytest.approx(0, abs=1e-8)
    assert problem.solve_regularized().value == pytest.approx(0.5, abs=1e-8)


def test_the_same_radius_for_every_example_is_not_the_coupled_set():
    """Wrong variant: m independent balls of radius c cost more than one budget c for all."""
    points, labels = examples(0)
    apart = RobustHinge(points, labels, "l2:radius=0.3").solve().value
    assert apart > RobustSVM(points, labels, 0.3).solve().value + 0.1


def test_random_members_of_the_coupled_set_are_no_worse():
    points, labels = examples(1)
    problem = RobustSVM(points, labels, 0.8)
    x = problem.solve().x
    draw = np.random.default_rng(0)
    for _ in range(100):
        delta = draw.normal(size=points.shape) * (draw.random((len(points), 1)) < 0.3)
        delta *= 0.8 / max(np.linalg.norm(delta, axis=1).sum(), 1e-9)
        losses = np.maximum(0, 1 - labels * ((points - delta) @ x[:-1] + x[-1]))
        assert losses.sum() <= problem.robust_loss(x) + 1e-9
