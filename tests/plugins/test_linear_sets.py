"""Sets of linear constraints: the laws of a region, known values, and other ways to the same answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import robustfw
from robustfw import UsageError
from robustfw.regions import inner_products, norms
from robustfw.testing._uncertainty import CHECKS, Case, sample_points
from robustfw_linear import Box, Budget, Ellipsoid, Polyhedron, Polytope
from robustfw_linear.sets import explicit

WIDTH = 4
SKEW = np.array([[0.5, 0.2, 0, 0], [0, 0.1, 0, 0.3], [0, 0, 1, 0], [0.1, 0, 0, 0.02]])
SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=WIDTH)))
CORNERS = np.array([[1, 0, 0, 0], [-0.5, 0.3, 0, 0.1], [0, -0.4, 0.7, 0], [0, 0, -0.7, -1], [0.2, 0.2, 0.2, 0.2]])

SETS = {
    "box": Box([0.1, 0.3, 0, 1], [0.2, 0, 0.5, 1]),
    "ellipsoid": Ellipsoid(SKEW),
    "flat ellipsoid": Ellipsoid(SKEW[:, :2]),
    "ball": Ellipsoid(0.7),
    "budget": Budget([0.5, 0.1, 0, 2], 1.4),
    "budget of nothing": Budget(0.3, 0),
    "polytope": Polytope(np.vstack([CORNERS, np.zeros(WIDTH)])),
    "segment": Polytope([[0.5, 0.5, 0, 0], [-1, -1, 0, 0]]),
    "polyhedron": Polyhedron(np.vstack([SIGNS, np.eye(WIDTH), -np.eye(WIDTH)]), [0.6] * 16 + [0.5] * 4 + [0.1] * 4),
}
SMOOTH = ("ellipsoid", "flat ellipsoid", "budget")


def rows(count=64, dtype=torch.float64):
    return torch.rand(count, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def case(region):
    return Case("bare", region, sample_points(region, torch.Generator().manual_seed(1)), 1e-6, 0)


@pytest.mark.parametrize("law", CHECKS)
@pytest.mark.parametrize("name", SETS)
def test_law(name, law):
    CHECKS[law](case(SETS[name].at(rows())))


@pytest.mark.parametrize("law", ["nearest", "support is feasible", "support is maximal", "project is feasible"])
@pytest.mark.parametrize("name", SMOOTH)
def test_law_within_a_data_range(name, law):
    x = rows(24)
    CHECKS[law](case(SETS[name].at(x).clip(0 - x, 1 - x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", SETS)
def test_narrow_types_give_finite_members(name, dtype):
    region = SETS[name].at(rows(dtype=dtype))
    points = sample_points(region, torch.Generator().manual_seed(1)).clamp(-1e4, 1e4)
    for found in (region.project(points), region.support(points)):
        assert found.dtype == dtype
        assert (region.violation(found) <= 64 * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize("name", SETS)
def test_the_formula_has_the_support_of_the_oracle(name):
    """max ⟨x, Pu⟩ over Du ≤ d, ‖u‖ ≤ ρ, by CVXPY, is ⟨x, support(x)⟩."""
    cvxpy = pytest.importorskip("cvxpy", reason="the outside solver CVXPY is not installed")
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    region = SETS[name].at(x)
    reached = inner_products(x, region.support(x))
    for direction, conic, value in zip(x.numpy(), SETS[name].conic(*x.shape), reached, strict=True):
        u = cvxpy.Variable(conic.basis.shape[1])
        limits = [conic.normals @ u <= conic.offsets] if len(conic.offsets) else []
        limits += [cvxpy.norm2(u) <= conic.radius] if np.isfinite(conic.radius) else []
        best = cvxpy.Problem(cvxpy.Maximize(direction @ conic.basis @ u), limits).solve(solver="CLARABEL")
        assert float(value) == pytest.approx(best, abs=1e-7)


def test_a_budget_of_equal_deviations_is_an_l1_ball_within_a_box():
    x = rows()
    budget = Budget(0.2, 1.7).at(x)
    ball = robustfw.make("uncertainty", {"use": "l1", "radius": 0.2 * 1.7}).at(x).clip(-0.2, 0.2)
    points = sample_points(ball, torch.Generator().manual_seed(3))
    torch.testing.assert_close(budget.project(points), ball.project(points), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        inner_products(points, budget.support(points)), inner_products(points, ball.support(points))
    )


def test_a_round_ellipsoid_is_an_l2_ball():
    x = rows()
    ellipsoid, ball = Ellipsoid(0.7).at(x), robustfw.make("uncertainty", "l2:radius=0.7").at(x)
    points = sample_points(ball, torch.Generator().manual_seed(3))
    torch.testing.assert_close(ellipsoid.project(points), ball.project(points))
    torch.testing.assert_close(ellipsoid.support(points), ball.support(points))


def test_polyhedra_and_polytopes_are_the_l1_ball_that_they_describe():
    x = rows(32)
    ball = robustfw.make("uncertainty", "l1:radius=0.8").at(x)
    points = sample_points(ball, torch.Generator().manual_seed(3))
    corners = 0.8 * np.vstack([np.eye(WIDTH), -np.eye(WIDTH)])
    for other in (Polytope(corners).at(x), Polyhedron(SIGNS, np.full(len(SIGNS), 0.8)).at(x)):
        torch.testing.assert_close(other.project(points), ball.project(points), rtol=1e-8, atol=1e-9)
        gains = [inner_products(points, each.support(points)) for each in (other, ball)]
        torch.testing.assert_close(*gains, rtol=1e-8, atol=1e-8)
        assert torch.equal(other.violation(points) > 1e-9, ball.violation(points) > 1e-9)


def test_known_values_of_a_budget():
    """|δ| ≤ (1, 2, 4), Γ = 1.5; the gains |g|·d of (3, 2, 0.5) are (3, 4, 2)."""
    budget = Budget([1.0, 2.0, 4.0], 1.5).at(torch.zeros(1, 3, dtype=torch.float64))
    found = budget.support(torch.tensor([[-3.0, 2.0, 0.5]], dtype=torch.float64))
    assert found.tolist() == [[-0.5, 2.0, 0.0]]
    assert budget.violation(torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64)).tolist() == [2.0]


def test_known_values_of_an_ellipsoid():
    """δ₁²/4 + δ₂² ≤ 1: the support of (1, 1) is (4, 1)/√5."""
    ellipsoid = Ellipsoid([2.0, 1.0]).at(torch.zeros(1, 2, dtype=torch.float64))
    found = ellipsoid.support(torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[4.0, 1.0]], dtype=torch.float64) / 5**0.5)
    torch.testing.assert_close(
        ellipsoid.project(torch.tensor([[6.0, 0.0]], dtype=torch.float64)),
        torch.tensor([[2.0, 0.0]], dtype=torch.float64),
    )


@pytest.mark.parametrize("name", SETS)
def test_empty_batches_stay_empty(name):
    region = SETS[name].at(torch.zeros(0, WIDTH, dtype=torch.float64))
    assert region.support(region.zero()).shape == region.project(region.zero()).shape == (0, WIDTH)
    assert norms(region.zero()).shape == (0,)


@pytest.mark.parametrize("spec", ["linf:radius=3/10", "l2:radius=0.5", "l1:radius=0.5", "l2:radius=[0.1,0.2,0,0.3]"])
def test_registered_balls_are_known_in_formulas(spec):
    """The formula's own region, of other code, has the ball's support."""
    made = robustfw.make("uncertainty", spec)
    points = sample_points(made.at(rows()), torch.Generator().manual_seed(4))
    gains = [inner_products(points, each.at(rows()).support(points)) for each in (made, explicit(made))]
    torch.testing.assert_close(*gains)


def test_other_sets_are_not():
    assert explicit(robustfw.make("uncertainty", "l0")) is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Box(-0.1), "not negative"),
        (lambda: Budget(np.inf, 1), "finite"),
        (lambda: Box([0.1, 0.2]).at(rows()), "does not fit"),
        (lambda: Ellipsoid(np.eye(3)).at(rows()), "4 rows"),
        (lambda: Polytope([[1.0, 0], [2, 1], [1, 1]]), "must contain 0"),
        (lambda: Polytope([1.0, -1]), "matrix"),
        (lambda: Polytope([[1.0], [-1]]).at(rows()), "rows have 4"),
        (lambda: Polyhedron(np.eye(2), [1, 1]), "not bounded"),
        (lambda: Polyhedron([[1.0, 0], [-1, 0]], [1, 1]), "not bounded"),
        (lambda: Polyhedron(np.eye(2), [1, 1, 1]), "one offset"),
        (lambda: Polyhedron([[1.0], [-1]], [1, 1]).at(rows()), "rows have 4"),
    ],
)
def test_misuse_is_explained(build, message):
    with pytest.raises(UsageError, match=message):
        build()
