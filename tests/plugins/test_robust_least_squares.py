"""Robust least squares is regularisation, said exactly: theorems of section 3.1, and variants that do not hold.

A theorem is tested three ways, where it can be: the worst case is attained and not exceeded; the robust problem, solved
by cuts that know only worst cases, has the value of the penalized one; and so does an outside solver's.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robustfw import RobustfwError, UsageError
from robustfw_linear import Columns, Frobenius, RobustHinge, RobustLeastSquares, RobustSVM

from .outside_solver import minimum

COORDINATES = st.floats(-2, 2, width=16)
RADII = np.array([0.1, 0.4, 0.0, 0.7])


def system(seed, rows=8, columns=4):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(rows, columns)), draw.normal(size=rows)


# Least squares: the worst case is the penalty


@pytest.mark.parametrize("sets", [Columns(0.3), Columns(RADII), Frobenius(0.5), Frobenius(0), Columns(0)], ids=str)
@given(x=arrays.arrays(float, 4, elements=COORDINATES), seed=st.integers(0, 5))
def test_the_worst_change_of_the_matrix_adds_the_penalty(sets, x, seed):
    """max_ΔA ‖(A + ΔA)x − b‖ = ‖Ax − b‖ + penalty(x), at every x: attained by a member, by no other exceeded."""
    matrix, target = system(seed)
    problem = RobustLeastSquares(matrix, target, sets)
    worst = problem.worst_case(x)
    assert np.linalg.norm((matrix + worst) @ x - target) == pytest.approx(problem.robust_residual(x), abs=1e-10)
    assert_member(worst, sets)
    other = np.random.default_rng(seed).normal(size=matrix.shape)
    other *= size_of(worst, sets) / np.maximum(size_of(other, sets), 1e-300)
    assert np.linalg.norm((matrix + other) @ x - target) <= problem.robust_residual(x) + 1e-10


def size_of(change, sets):
    return np.linalg.norm(change, axis=0 if isinstance(sets, Columns) else None)


def assert_member(change, sets):
    assert (size_of(change, sets) <= sets.radius + 1e-12).all()


def test_a_residual_of_zero_is_raised_too():
    matrix, _ = system(0)
    x = np.ones(4)
    problem = RobustLeastSquares(matrix, matrix @ x, Frobenius(0.5))
    assert np.linalg.norm((matrix + problem.worst_case(x)) @ x - problem.target) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sets", "penalty"),
    [
        (Columns(0.3), lambda cvxpy, x: 0.3 * cvxpy.norm1(x)),
        (Columns(RADII), lambda cvxpy, x: RADII @ cvxpy.abs(x)),
        (Frobenius(0.5), lambda cvxpy, x: 0.5 * cvxpy.norm2(x)),
        (Frobenius(9), lambda cvxpy, x: 9 * cvxpy.norm2(x)),
    ],
    ids=["columns", "a radius for each column", "Frobenius", "Frobenius, large"],
)
def test_robust_least_squares_is_penalized_un_squared_least_squares(cvxpy, sets, penalty, seed):
    """Column-wise balls: the ℓ1 norm. A coupled Frobenius ball: the ℓ2 norm."""
    matrix, target = system(seed)
    problem = RobustLeastSquares(matrix, target, sets)
    x = cvxpy.Variable(4)
    outside = minimum(cvxpy, cvxpy.norm2(matrix @ x - target) + penalty(cvxpy, x))
    for method in ("reformulation", "cutting-set"):
        found = problem.solve(method)
        assert found.value == pytest.approx(outside, abs=1e-7)
        assert abs(found.gap) <= 1e-7


def test_the_other_penalty_is_not_the_column_wise_sets(cvxpy):
    """Wrong variants: ‖x‖₂ for columns, ‖x‖₁ for the Frobenius ball, the Frobenius ball for balls around each row."""
    matrix, target = system(0)
    x = cvxpy.Variable(4)
    residual = cvxpy.norm2(matrix @ x - target)
    columns, frobenius = (RobustLeastSquares(matrix, target, sets(0.3)).solve().value for sets in (Columns, Frobenius))
    assert abs(columns - minimum(cvxpy, residual + 0.3 * cvxpy.norm2(x))) > 0.02
    assert abs(frobenius - minimum(cvxpy, residual + 0.3 * cvxpy.norm1(x))) > 0.02
    by_rows = minimum(cvxpy, cvxpy.norm2(cvxpy.abs(matrix @ x - target) + 0.3 * cvxpy.norm2(x)))
    assert by_rows > frobenius + 0.02


# Ridge and lasso, for the right weight


@pytest.mark.parametrize("ridge", [0.01, 0.5, 3.0])
def test_ridge_is_robust_for_the_radius_that_its_solution_determines(ridge):
    """x = (AᵀA + λI)⁻¹Aᵀb minimizes ‖Ax − b‖₂ + ρ‖x‖₂ for ρ = λ‖x‖₂/‖Ax − b‖₂, which inverts `squared_penalty`."""
    matrix, target = system(1)
    x = np.linalg.solve(matrix.T @ matrix + ridge * np.eye(4), matrix.T @ target)
    residual = matrix @ x - target
    radius = ridge * np.linalg.norm(x) / np.linalg.norm(residual)
    problem = RobustLeastSquares(matrix, target, Frobenius(radius))
    slope = matrix.T @ residual / np.linalg.norm(residual) + radius * x / np.linalg.norm(x)
    assert np.linalg.norm(slope) <= 1e-12
    assert problem.squared_penalty(x) == pytest.approx(ridge, rel=1e-12)
    for method in ("reformulation", "cutting-set"):
        found = problem.solve(method)
        assert problem.robust_residual(x) == pytest.approx(found.value, abs=1e-8)
        assert problem.squared_penalty(found.x) == pytest.approx(ridge, rel=1e-3)


def test_ridge_with_the_radius_as_its_weight_is_another_problem():
    """Wrong variants: λ = ρ and λ = ρ² give solutions that are worse in the robust problem by a margin."""
    matrix, target = system(1)
    problem = RobustLeastSquares(matrix, target, Frobenius(0.5))
    best = problem.solve().value
    for ridge in (0.5, 0.25):
        x = np.linalg.solve(matrix.T @ matrix + ridge * np.eye(4), matrix.T @ target)
        assert problem.robust_residual(x) > best + 1e-3


def test_lasso_is_robust_for_the_weight_that_the_solution_determines(cvxpy):
    """μ_j = 2ρ_j‖Ax − b‖₂ on the squared residual; μ = ρ is a wrong variant."""
    matrix, target = system(2)
    problem = RobustLeastSquares(matrix, target, Columns(RADII))
    found = problem.solve()
    weights = problem.squared_penalty(found.x)
    x = cvxpy.Variable(4)

    def lasso(at, mu):
        return problem.residual(at) ** 2 + mu @ np.abs(at)

    for mu, right in ((weights, True), (RADII, False)):
        best = minimum(cvxpy, cvxpy.sum_squares(matrix @ x - target) + mu @ cvxpy.abs(x))
        excess = lasso(found.x, mu) - best
        assert (excess <= 1e-6) if right else (excess > 1e-2)


def test_a_robust_solution_may_be_zero_where_ridges_never_is():
    """x = 0 if and only if ρ ≥ ‖Aᵀb‖₂/‖b‖₂."""
    matrix, target = system(1)
    border = np.linalg.norm(matrix.T @ target) / np.linalg.norm(target)
    lengths = [
        np.linalg.norm(RobustLeastSquares(matrix, target, Frobenius(share * border)).solve().x)
        for share in (0.95, 1.05)
    ]
    assert lengths[0] > 1e-3
    assert lengths[1] < 1e-6


def test_an_exact_fit_has_no_squared_counterpart():
    matrix, _ = system(0)
    with pytest.raises(RobustfwError, match="fits exactly"):
        RobustLeastSquares(matrix, matrix @ np.ones(4), Frobenius(0.1)).squared_penalty(np.ones(4))


# Hinge: a ball around each example


def test_squared_loss_with_a_ball_around_each_example_is_not_ridge():
    """Wrong variant (C11): the worst squared loss is Σ (|rᵢ| + ε‖w‖)², not Σ rᵢ² + mε²‖w‖²."""
    matrix, target = system(1)
    x = np.linalg.lstsq(matrix, target, rcond=None)[0]
    rest, reach = np.abs(matrix @ x - target), 0.2 * np.linalg.norm(x)
    rows = matrix + 0.2 * np.sign(matrix @ x - target)[:, None] * x / np.linalg.norm(x)
    worst = ((rows @ x - target) ** 2).sum()
    assert worst == pytest.approx(((rest + reach) ** 2).sum())
    assert worst > (rest**2).sum() + len(target) * reach**2 + 0.1


# Misuse


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RobustLeastSquares([[1.0]], [1, 2], Frobenius(1)), "shapes do not fit"),
        (lambda: RobustLeastSquares(np.eye(2), [1, 2], Columns([1, 1, 1])).solve(), "3 radii"),
        (
            lambda: RobustLeastSquares(np.eye(2), [1, 2], Columns(1)).solve("online"),
            "known: reformulation, cutting-set",
        ),
        (lambda: Frobenius(-1), "not negative"),
        (lambda: Frobenius([1, 2]), "one radius"),
        (lambda: RobustHinge([[1.0]], [0]), "labels must be"),
        (lambda: RobustHinge([[1.0]], [1, 1]), "shapes do not fit"),
        (lambda: RobustHinge([[2.0]], [1], data_range=(0, 1)), "outside of the data range"),
        (lambda: RobustSVM([[1.0]], [1], -1), "budget"),
        (lambda: RobustSVM([[1.0]], [1], 1, "l0"), "known: linf, l2, l1"),
    ],
)
def test_misuse_is_explained(build, message):
    with pytest.raises(UsageError, match=message):
        build()
