"""Robust linear programs: three methods against each other, against CVXPY, and against values worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linprog

import robustfw
from robustfw import RobustfwError, UncertaintySet
from robustfw_linear import (
    Box,
    Budget,
    Ellipsoid,
    Polyhedron,
    Polytope,
    RobustLP,
)

from .random_programs import instance

SHAPE = np.array([[0.2, 0.1, 0], [0, 0.3, 0.1], [0.1, 0, 0.1]])
CORNERS = np.array([[0.3, 0, 0], [-0.2, 0.2, 0], [0, -0.3, 0.1], [0, 0, -0.3], [0, 0, 0]])
NORMALS = np.vstack([np.eye(3), -np.eye(3), [[1, 1, 1], [-1, -1, 1]]])
SETS = {
    "linf": "linf:radius=0.1",
    "l2": "l2:radius=0.2",
    "l1": "l1:radius=0.3",
    "a radius for each column": "linf:radius=[0.1,0,0.3]",
    "box": Box([0.1, 0.2, 0.3], [0.3, 0, 0.1]),
    "ellipsoid": Ellipsoid(SHAPE),
    "flat ellipsoid": Ellipsoid(SHAPE[:, :1]),
    "budget": Budget([0.1, 0.2, 0.3], 1.5),
    "polytope": Polytope(CORNERS),
    "polyhedron": Polyhedron(NORMALS, [0.2] * 6 + [0.3] * 2),
    "nothing": None,
}
COORDINATES = st.floats(-2, 2, width=16)


def arrays_of(*shape):
    return arrays.arrays(float, shape, elements=COORDINATES)


# The methods agree


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=20)
@given(cost=arrays_of(3), matrix=arrays_of(4, 3), limits=arrays.arrays(float, 4, elements=st.floats(0.25, 2, width=16)))
def test_cutting_sets_and_the_reformulation_agree(name, cost, matrix, limits):
    """Ties, zeros, parallel and useless constraints come with the small numbers."""
    program = RobustLP(cost, matrix, limits, SETS[name], lower=-3, upper=3)
    cuts, formula = program.solve("cutting-set"), program.solve("reformulation")
    assert cuts.value == pytest.approx(formula.value, abs=1e-6)
    for found in (cuts, formula):
        assert found.violation <= 1e-7
        assert -1e-7 <= found.gap <= 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("accuracy", [0.3, 0.05])
def test_the_online_method_keeps_its_accuracy_within_its_calls(name, accuracy):
    """Violation ≤ ε, value ≤ the optimum, bound ≤ the optimum, calls ≤ 2D²G²/ε²."""
    program = RobustLP(*instance(1), SETS[name], lower=-3, upper=3)
    found, optimum = program.solve("online", accuracy=accuracy, limit=2_000), program.solve()
    assert found.violation <= accuracy
    assert found.value <= optimum.value + 1e-8
    assert found.bound <= optimum.value + 1e-8
    assert found.solves == found.oracle_calls <= found.promised


def test_the_online_method_spends_more_calls_on_more_accuracy_and_never_more_than_promised():
    program = RobustLP(*instance(1), Ellipsoid(0.5), lower=-3, upper=3)
    spent = [program.solve("online", accuracy=accuracy) for accuracy in (0.4, 0.1, 0.025)]
    calls = [found.solves for found in spent]
    assert calls[0] < calls[1] < calls[2]
    ratios = [later.promised / sooner.promised for sooner, later in itertools.pairwise(spent)]
    assert ratios == pytest.approx([16, 16], rel=0.5)


def test_the_nominal_oracle_alone_is_not_robust():
    """One call, at δ = 0, is the nominal solution; it is violated by far."""
    program = RobustLP(*instance(1), Ellipsoid(0.5), lower=-3, upper=3)
    nominal = RobustLP(*instance(1), lower=-3, upper=3).solve()
    with pytest.raises(RobustfwError, match=r"violated by more than 0\.05: allow up to"):
        program.solve("online", accuracy=0.05, limit=1)
    assert nominal.value < program.solve().value - 0.1


# Outside solvers


def counterparts(cvxpy):
    """max ⟨δ, x⟩ over the set, as textbooks write it."""
    deviation = np.array([0.1, 0.2, 0.3])

    def budget(x):
        spread = cvxpy.multiply(deviation, cvxpy.abs(x))
        return 0.5 * cvxpy.sum_largest(spread, 1) + 0.5 * cvxpy.sum_largest(spread, 2)

    return {
        "linf": lambda x: 0.1 * cvxpy.norm1(x),
        "l2": lambda x: 0.2 * cvxpy.norm2(x),
        "l1": lambda x: 0.3 * cvxpy.norm_inf(x),
        "a radius for each column": lambda x: np.array([0.1, 0, 0.3]) @ cvxpy.abs(x),
        "box": lambda x: deviation @ cvxpy.pos(x) + np.array([0.3, 0, 0.1]) @ cvxpy.neg(x),
        "ellipsoid": lambda x: cvxpy.norm2(SHAPE.T @ x),
        "flat ellipsoid": lambda x: cvxpy.abs(SHAPE[:, 0] @ x),
        "budget": budget,
        "polytope": lambda x: cvxpy.max(CORNERS @ x),
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name in SETS if name not in ("polyhedron", "nothing")])
def test_the_optimum_is_the_outside_solvers(name, seed):
    cvxpy = pytest.importorskip("cvxpy", reason="the outside solver CVXPY is not installed")
    cost, matrix, limits = instance(seed)
    x = cvxpy.Variable(3)
    worst = counterparts(cvxpy)[name](x)
    outside = cvxpy.Problem(cvxpy.Minimize(cost @ x), [matrix @ x + worst <= limits, cvxpy.abs(x) <= 3])
    best = outside.solve(solver="CLARABEL")
    program = RobustLP(cost, matrix, limits, SETS[name], lower=-3, upper=3)
    for method in ("cutting-set", "reformulation"):
        assert program.solve(method).value == pytest.approx(best, abs=1e-6)


def test_the_norm_of_the_counterpart_is_the_dual_one():
    """A wrong variant: for a box of δ the constraint has ‖x‖₁, and with ‖x‖_∞ the optimum is another by far."""
    cvxpy = pytest.importorskip("cvxpy", reason="the outside solver CVXPY is not installed")
    cost, matrix, limits = instance(1)
    x = cvxpy.Variable(3)
    wrong = [matrix @ x + 0.1 * cvxpy.norm_inf(x) <= limits, cvxpy.abs(x) <= 3]
    value = cvxpy.Problem(cvxpy.Minimize(cost @ x), wrong).solve(solver="CLARABEL")
    assert abs(RobustLP(cost, matrix, limits, "linf:radius=0.1", lower=-3, upper=3).solve().value - value) > 0.01


def test_an_uncertain_cost_is_paid_in_its_worst_case():
    cvxpy = pytest.importorskip("cvxpy", reason="the outside solver CVXPY is not installed")
    cost, matrix, limits = instance(0)
    x = cvxpy.Variable(3)
    worst = cost @ x + 0.4 * cvxpy.norm2(x)
    best = cvxpy.Problem(cvxpy.Minimize(worst), [matrix @ x + 0.1 * cvxpy.norm1(x) <= limits, cvxpy.abs(x) <= 3]).solve(
        solver="CLARABEL"
    )
    program = RobustLP(cost, matrix, limits, "linf:radius=0.1", cost_uncertainty="l2:radius=0.4", lower=-3, upper=3)
    for method in ("cutting-set", "reformulation"):
        found = program.solve(method)
        assert found.value == pytest.approx(best, abs=1e-6)
        assert found.value == pytest.approx(cost @ found.x + 0.4 * np.linalg.norm(found.x), abs=1e-7)
    online = program.solve("online", accuracy=0.05)
    assert online.violation <= 0.05
    assert online.value <= best + 0.05


def test_a_certain_program_is_the_linear_program():
    cost, matrix, limits = instance(3)
    nominal = linprog(cost, matrix, limits, bounds=(-3, 3)).fun
    for sets in (
        None,
        "linf:radius=0",
        "l2:radius=0",
        "l1:radius=0",
        Ellipsoid(0),
        Budget(0.5, 0),
        Polytope([[0, 0, 0]]),
    ):
        program = RobustLP(cost, matrix, limits, sets, lower=-3, upper=3)
        for method in ("cutting-set", "reformulation", "online"):
            assert program.solve(method).value == pytest.approx(nominal, abs=1e-8)


# Known values


def test_known_values():
    """max x₁ + x₂ over (1 + δ)ᵀx ≤ 1, x ≥ 0: 0.8 for |δ_j| ≤ 1/4, and 1/(1 + r/√2) for ‖δ‖₂ ≤ r."""
    for sets, known in (("linf:radius=0.25", 0.8), ("l2:radius=0.5", 1 / (1 + 0.5 / 2**0.5)), (Budget(1, 1), 2 / 3)):
        program = RobustLP([-1, -1], [[1, 1]], [1], sets, lower=0)
        for method in ("cutting-set", "reformulation"):
            assert program.solve(method).value == pytest.approx(-known, abs=1e-8)


def test_each_constraint_may_have_a_set_of_its_own():
    """max x₁ + x₂ with (1 + δ)x₁ ≤ 1 and (1 + δ)x₂ ≤ 1, |δ| ≤ 1/4 in the first and certain in the second."""
    program = RobustLP([-1, -1], np.eye(2), [1, 1], [Box([0.25, 0]), None], lower=0)
    for method in ("cutting-set", "reformulation"):
        assert program.solve(method).x == pytest.approx([0.8, 1.0])


def test_deviations_may_differ_in_every_coefficient():
    deviations = [[0.25, 0], [0, 1]]
    for sets in (Box(deviations), Budget(deviations, [1, 1])):
        assert RobustLP([-1, -1], np.eye(2), [1, 1], sets, lower=0).solve().x == pytest.approx([0.8, 0.5])


def test_an_uncertain_limit_is_a_coefficient_of_a_variable_fixed_to_minus_one():
    """x ≤ 2 + β for |β| ≤ 1/2: x = 1.5."""
    program = RobustLP([-1, 0], [[1, 0]], [2], Box([0, 0.5]), lower=[0, -1], upper=[np.inf, -1])
    assert program.solve().x[0] == pytest.approx(1.5)
    assert program.solve("reformulation").x[0] == pytest.approx(1.5)


def test_equations_are_certain():
    """A portfolio: returns 1 and 1.2, the second known to ±0.3 only. In the worst case the first is better."""
    program = RobustLP(
        [-1, -1.2], np.zeros((0, 2)), [], cost_uncertainty=Box([0, 0.3]), lower=0, equations=(np.ones((1, 2)), [1])
    )
    for method in ("cutting-set", "reformulation"):
        assert program.solve(method).x == pytest.approx([1, 0], abs=1e-9)
    assert -1 <= program.solve("online", accuracy=0.02).value <= -0.98


@pytest.mark.parametrize("name", [name for name in SETS if name != "nothing"])
def test_no_member_violates_the_solution_and_the_worst_violates_the_nominal_one(name):
    cost, matrix, limits = instance(1)
    found = RobustLP(cost, matrix, limits, SETS[name], lower=-3, upper=3).solve().x
    nominal = RobustLP(cost, matrix, limits, lower=-3, upper=3).solve().x
    made = SETS[name] if isinstance(SETS[name], UncertaintySet) else robustfw.make("uncertainty", SETS[name])
    region = made.at(torch.as_tensor(matrix))
    generator = torch.Generator().manual_seed(0)
    members = [matrix + region.sample(generator).numpy() for _ in range(50)]
    worst = matrix + region.support(torch.as_tensor(nominal).expand_as(region.like)).numpy()
    assert max((member @ found - limits).max() for member in [*members, worst]) <= 1e-8
    assert (worst @ nominal - limits).max() > 1e-3
