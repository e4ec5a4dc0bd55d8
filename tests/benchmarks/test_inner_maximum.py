"""The yardstick of the benchmark, and what robustfw's single step measures on it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

# Last in the path: the benchmarks are no part of the installed distribution, which is what the tests run against.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import inner_maximum  # found by the line above

if TYPE_CHECKING:
    from benchmarks.inner_maximum import Array, Problem

share = inner_maximum.share
RADII = inner_maximum.RADII


def random_rows(d: int, seed: int) -> tuple[Array, Array]:
    """Directions and points in [0, 1], some of which lie on its ends."""
    random = np.random.default_rng(seed)
    ascent = random.normal(size=(8, d)) * (random.random((8, d)) < 0.9)
    return ascent, (1.6 * random.random((8, d)) - 0.3).clip(0, 1)


@pytest.fixture(params=range(3))
def problem(request: pytest.FixtureRequest) -> Problem:
    """Random images, float32, some pixels at 0 and 1, and the side of a random plane that each is on."""
    generator = torch.Generator().manual_seed(request.param)
    weight, x = torch.randn(2, 36, generator=generator), torch.rand(20, 1, 6, 6, generator=generator)
    x = (1.6 * x - 0.3).clamp(0, 1)
    logits = x.flatten(1) @ weight.T
    middle = (logits[:, 1] - logits[:, 0]).median()
    bias = torch.stack([middle / 2, -middle / 2])
    return inner_maximum.Problem.from_function(weight, bias, x, (logits + bias).argmax(1))


@pytest.mark.parametrize("seed", range(5))
def test_exact_linf_is_the_best_corner(seed):
    ascent, points = random_rows(5, seed)
    low, high = np.maximum(-0.3, -points), np.minimum(0.3, 1 - points)
    corners = [np.where(pick, high, low) for pick in itertools.product([False, True], repeat=5)]
    best = np.max([(ascent * corner).sum(1) for corner in corners], axis=0)
    np.testing.assert_allclose(inner_maximum.exact_linf(ascent, points, 0.3), best, rtol=1e-12)


@pytest.mark.parametrize("radius", [0.05, 0.6, 1.2, 9.0])
def test_exact_l2_is_what_a_general_solver_finds(radius):
    ascent, points = random_rows(6, 0)
    for c, x, exact in zip(ascent, points, inner_maximum.exact_l2(ascent, points, radius), strict=True):
        found = minimize(
            lambda delta, c=c: -c @ delta,
            np.zeros(6),
            jac=lambda delta, c=c: -c,
            bounds=list(zip(-x, 1 - x, strict=True)),
            constraints={"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2 * d},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert exact == pytest.approx(-found.fun, rel=1e-6)


@pytest.mark.parametrize(
    ("x", "radius", "maximum"),
    [((0.5, 0.5), 0.5, 2.5), ((0.5, 0.7), 0.5, 2.4), ((0.5, 0.7), 1.0, 2.7)],
    ids=["inside the box", "one coordinate full", "both full"],
)
def test_exact_l2_by_hand(x, radius, maximum):
    """c = (3, 4): δ = (.3, .4); then δ₂ = .3 and δ₁ = .4; then the whole room (.5, .3)."""
    found = inner_maximum.exact_l2(np.array([[3.0, 4.0]]), np.array([x]), radius)
    np.testing.assert_allclose(found, maximum, rtol=1e-12)


@pytest.mark.parametrize("radius", [0.2, 2.5, 50.0])
def test_exact_l1_is_the_linear_program_in_delta_and_its_magnitudes(radius):
    """Variables (δ, t): |δ_j| ≤ t_j, Σt ≤ r; the benchmark's own program splits δ into two parts instead."""
    ascent, points = random_rows(20, 1)
    eye, zero = np.eye(20), np.zeros(20)
    matrix = np.block([[eye, -eye], [-eye, -eye], [zero, zero + 1]])
    limits = np.append(np.zeros(40), radius)
    for c, x, exact in zip(ascent, points, inner_maximum.exact_l1(ascent, points, radius), strict=True):
        bounds = [*zip(-x, 1 - x, strict=True), *[(0, None)] * 20]
        program = linprog(np.append(-c, zero), matrix, limits, bounds=bounds, method="highs")
        assert exact == pytest.approx(-program.fun, rel=1e-7)


@pytest.mark.parametrize("radius", [0.2, 2.5, 50.0])
def test_exact_l1_fills_the_largest_coordinates_first(radius):
    ascent, points = random_rows(20, 2)
    for c, x, exact in zip(ascent, points, inner_maximum.exact_l1(ascent, points, radius), strict=True):
        left, gained = radius, 0.0
        for j in np.argsort(-abs(c)):
            spent = min(left, 1 - x[j] if c[j] > 0 else x[j])
            left, gained = left - spent, gained + spent * abs(c[j])
        assert exact == pytest.approx(gained, rel=1e-7)


@pytest.mark.parametrize("norm", list(RADII))
def test_single_step_captures_all_of_it(problem, norm):
    (row,) = inner_maximum._robustfw(problem).values()
    found = share(problem, row["one", norm](), norm)
    assert found.mean == pytest.approx(1, abs=1e-5)
    assert found.inside


@pytest.mark.parametrize("norm", list(RADII))
def test_the_radius_binds(problem, norm):
    """Else a share of 1 would be the box's doing."""
    whole_box = inner_maximum.exact_linf(problem.ascent, problem.points, 1.0)
    exact = inner_maximum.EXACT[norm](problem.ascent, problem.points, RADII[norm])
    assert (exact < 0.95 * whole_box).all()


def test_normalise_then_clip_captures_less(problem):
    ascent = torch.from_numpy(problem.ascent).float().reshape(problem.x.shape)
    length = ascent.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    found = share(problem, (problem.x + RADII["l2"] * ascent / length).clamp(0, 1), "l2")
    assert 0.5 < found.mean < 0.98
    assert found.inside


def test_clean_images_capture_nothing(problem):
    assert share(problem, problem.x, "l1") == inner_maximum.Share(0.0, 0.0, True)


def test_what_leaves_the_set_or_the_range_is_marked(problem):
    far = share(problem, (problem.x + 0.2).clamp(0, 1), "linf")
    assert not far.inside
    assert far.length == pytest.approx(2, rel=1e-5)
    assert not share(problem, problem.x + 0.05, "linf").inside
    assert inner_maximum.spelled("far", {("one", "linf"): far})["one linf"].endswith("!")


@pytest.mark.parametrize(("spoiled", "status"), [(False, 0), (True, 1)], ids=["exact", "spoiled"])
def test_exit_status_and_peers_that_do_not_import(monkeypatch, capsys, tmp_path, problem, spoiled, status):
    (row,) = inner_maximum._robustfw(problem).values()
    if spoiled:
        row["one", "l1"] = lambda: problem.x

    def absent(_):
        raise ModuleNotFoundError("No module named 'peer'")

    monkeypatch.setattr("sys.argv", ["inner_maximum", "--out", str(tmp_path / "kept.json")])
    monkeypatch.setattr(inner_maximum, "mnist", lambda _: problem)
    monkeypatch.setattr(inner_maximum, "_robustfw", lambda _: {inner_maximum.OURS: row})
    monkeypatch.setattr(inner_maximum, "PEERS", {"peer": absent})
    assert inner_maximum.main() == status
    printed, told = capsys.readouterr()
    assert "skipped: peer (No module named 'peer')" in told
    assert inner_maximum.OURS in printed
