"""The tangent set, alone and within a box: eqs. 12-13, and the linear algebra beneath."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from robustfw.inner.threat import Threat
from robustfw.regions import inner_products, norms, per_row
from robustfw_manifold.linear import orthonormal, singular_vectors
from robustfw_manifold.region import TangentBall
from robustfw_manifold.tangent import Tangent


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def ball(rows=20, directions=4, dimension=9, radius=1.5, seed=0):
    """A ball in a random subspace of each row, and points of its space."""
    basis = orthonormal(normal(rows, directions, dimension, seed=seed))
    return TangentBall.build(normal(rows, dimension, seed=seed + 1), basis, radius)


# Linear algebra


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_become_orthonormal_and_span_the_same_space(dtype):
    vectors = normal(30, 5, 40).to(dtype)
    vectors[:, 3] = 1e-5 * vectors[:, 3]  # short, but a direction of its own
    rows = orthonormal(vectors)
    eye = torch.eye(5, dtype=dtype).expand(30, 5, 5)
    torch.testing.assert_close(rows @ rows.mT, eye)
    torch.testing.assert_close(vectors @ rows.mT @ rows, vectors)


def test_directions_that_are_not_there_are_dropped():
    vectors = normal(3, 4, 10)
    vectors[0, 2] = 2 * vectors[0, 0] - vectors[0, 1]
    vectors[1] = 0
    rows = orthonormal(vectors)
    assert (norms(rows.flatten(0, 1)) > 0.5).reshape(3, 4).sum(1).tolist() == [3, 0, 4]
    torch.testing.assert_close(vectors @ rows.mT @ rows, vectors)


def test_leading_rows_are_the_right_singular_vectors_in_their_order():
    matrix = normal(8, 6, 12)
    _, _, expected = torch.linalg.svd(matrix, full_matrices=False)
    found = singular_vectors(matrix, 3)
    torch.testing.assert_close((found @ expected[:, :3].mT).abs(), torch.eye(3, dtype=torch.float64).expand(8, 3, 3))


def test_nearly_dependent_rows_stay_orthonormal():
    vectors = normal(10, 3, 50)
    vectors[:, 1] = vectors[:, 0] + 1e-3 * vectors[:, 1]
    rows = orthonormal(vectors)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(3, dtype=torch.float64).expand(10, 3, 3), atol=1e-12, rtol=0)


# The region


def test_the_projector_is_that_of_least_squares_idempotent_and_self_adjoint():
    region, z, w = ball(), normal(20, 9, seed=5), normal(20, 9, seed=6)
    for basis, point, found in zip(region.basis.numpy(), z.numpy(), region.tangential(z).numpy(), strict=True):
        np.testing.assert_allclose(found, basis.T @ np.linalg.lstsq(basis.T, point, rcond=None)[0], atol=1e-12)
    torch.testing.assert_close(region.tangential(region.tangential(z)), region.tangential(z))
    torch.testing.assert_close(inner_products(region.tangential(z), w), inner_products(z, region.tangential(w)))


def test_the_support_is_the_radius_times_the_unit_vector_of_the_projected_gradient():
    region, g = ball(), normal(20, 9, seed=5)
    pulled = region.tangential(g)
    torch.testing.assert_close(region.support(g), 1.5 * pulled / per_row(norms(pulled), g))
    torch.testing.assert_close(inner_products(g, region.support(g)), 1.5 * norms(pulled))


def test_inside_on_the_border_and_outside_by_hand():
    """The plane of the first two of three coordinates, radius 5."""
    region = TangentBall.build(torch.zeros(4, 3), torch.eye(3)[:2].expand(4, 2, 3), 5.0)
    points = torch.tensor([[1.0, 2, 0], [3, 4, 0], [6, 8, 7], [0, 0, 2]])
    torch.testing.assert_close(region.project(points), torch.tensor([[1.0, 2, 0], [3, 4, 0], [3, 4, 0], [0, 0, 0]]))
    torch.testing.assert_close(region.violation(points), torch.tensor([0.0, 0, 149**0.5 - 5, 2]))
    torch.testing.assert_close(region.support(points)[2:], torch.tensor([[3.0, 4, 0], [0, 0, 0]]))


def test_a_gradient_that_is_normal_to_the_tangents_moves_nothing():
    region, g = ball(), normal(20, 9, seed=5)
    assert (region.support(g - region.tangential(g)) == 0).all()


def test_samples_fill_the_ball_uniformly():
    region = ball(rows=4000, directions=3)
    lengths = norms(region.sample(generator())) / 1.5
    assert lengths.max() <= 1
    # the volume within half the radius is an eighth; three standard deviations of the share are 0.016
    assert abs(float((lengths < 0.5).double().mean()) - 1 / 8) < 0.016


# Within a box


def boxed(seed, radius, zero=0.3):
    """A tangent ball in a box, some of whose sides are at 0."""
    region = ball(rows=12, directions=3, dimension=7, radius=radius, seed=seed)
    room = torch.rand(2, 12, 7, generator=generator(seed), dtype=torch.float64)
    room[torch.rand(room.shape, generator=generator(seed + 1)) < zero] = 0
    return region.clip(-room[0], room[1])


@given(st.integers(0, 1000))
def test_the_support_within_a_box_is_that_of_a_linear_program(seed):
    """With a radius that does not bind."""
    region, g = boxed(seed, radius=100.0), normal(12, 7, seed=seed + 2)
    found = region.support(g)
    for i in range(len(g)):
        basis = region.ball.basis[i].numpy()
        sides = np.concatenate([region.upper[i].numpy(), -region.lower[i].numpy()])
        plane = np.concatenate([basis.T, -basis.T])
        best = linprog(-basis @ g[i].numpy(), A_ub=plane, b_ub=sides, bounds=(None, None))
        # Where two sides of the box are nearly opposite in the plane, the 1e-10 by which they may be left add up.
        assert -best.fun - 1e-6 <= float(g[i] @ found[i]) <= -best.fun + 1e-4
    assert (region.violation(found) == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_oracles_within_a_box_are_those_of_a_general_solver(seed):
    region, g = boxed(seed, radius=0.4, zero=0.1), normal(12, 7, seed=seed + 2)
    farthest, nearest = region.support(g), region.project(g)
    for i in range(len(g)):
        basis, along = region.ball.basis[i].numpy(), g[i].numpy()
        limits = [
            {"type": "ineq", "fun": lambda c, b=basis, i=i: region.upper[i].numpy() - b.T @ c},
            {"type": "ineq", "fun": lambda c, b=basis, i=i: b.T @ c - region.lower[i].numpy()},
            {"type": "ineq", "fun": lambda c: 0.4**2 - c @ c},
        ]
        options = {"maxiter": 500, "ftol": 1e-13}
        linear = minimize(lambda c, b=basis, g=along: -g @ (b.T @ c), np.zeros(3), constraints=limits, options=options)
        square = minimize(
            lambda c, b=basis, g=along: ((g - b.T @ c) ** 2).sum(), np.zeros(3), constraints=limits, options=options
        )
        assert float(g[i] @ farthest[i]) >= -linear.fun - 1e-6
        assert float((g[i] - nearest[i]).square().sum()) <= square.fun + 1e-6
    assert (region.violation(farthest) == 0).all()
    assert (region.violation(nearest) == 0).all()


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 100.0]))
def test_the_gap_bounds_what_any_member_could_gain_and_is_small(seed, radius):
    region, g = boxed(seed, radius), normal(12, 7, seed=seed + 2)
    found = region.support(g)
    gap = region.gap(g, found)
    assert (gap <= 1e-6 * (1 + norms(g))).all()
    half = region.gap(g, found / 2)
    gain = inner_products(g, found)
    assert (half >= gain / 2 - 1e-4).all()  # members may leave the box by 1e-10 and so gain a little more
    rival = region.project(1000 * g)
    assert (inner_products(g, rival - found / 2) <= half + 1e-4).all()


def test_the_gap_is_finite_where_the_box_has_no_bound():
    region, g = ball().clip(-torch.inf, 1.0), normal(20, 9, seed=5)
    assert (region.gap(g, region.support(g)) <= 1e-6 * (1 + norms(g))).all()


def test_where_the_plane_only_touches_the_box_nothing_moves():
    """Two tangents, each of which would leave a corner of the box whichever way one goes."""
    rows = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]], dtype=torch.float64) / 2**0.5
    region = TangentBall.build(torch.zeros(1, 4, dtype=torch.float64), rows[None], 1.0).clip(0.0, 1.0)
    for found in (region.support(normal(1, 4)), region.project(normal(1, 4)), region.sample(generator())):
        assert float(norms(found)) < 1e-8
        assert float(region.violation(found)) == 0


def test_real_images_within_their_range(digits):
    """Black and white images: solved to the end, though hardly a tangent stays in [0, 1]."""
    x, _ = next(digits.test.first(60).iterate(60))
    region = Threat(Tangent(radius=1.0)).region(x)
    g = torch.randn(x.shape, generator=generator())
    found = region.support(g)
    assert (region.gap(g, found) <= 1e-4 * norms(g)).all()
    assert (region.violation(found) == 0).all()
    assert float((x + found).min()) >= -1e-6
    assert float((x + found).max()) <= 1 + 1e-6
