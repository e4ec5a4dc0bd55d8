"""Polyhedra: known values, SciPy's answers, and the intersection with a data range that used to stop early."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from robustfw import UsageError
from robustfw.regions import Intersection, Polyhedron, inner_products, norms
from robustfw_linear import Polyhedron as LinearPolyhedron


def inequalities(count, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return normals, 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)


def examples(count, width):
    x = torch.rand(count, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[: count // 2] = x[: count // 2].round()  # sides without room
    return x


def within_range(x, normals, offsets):
    return Polyhedron.from_inequalities(x, normals, offsets).clip(0 - x, 1 - x)


def test_a_half_space_and_a_box_by_hand():
    x = torch.zeros(3, 2, dtype=torch.float64)
    region = Polyhedron.from_inequalities(x, torch.tensor([[1.0, 1.0]]), torch.tensor([1.0])).clip(-1.0, 1.0)
    points = torch.tensor([[0.2, 0.3], [0.5, 0.5], [1.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.2, 0.3], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(region.project(points), expected, atol=1e-8, rtol=0)
    farthest = region.support(torch.tensor([[2.0, 1.0], [-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(
        farthest, torch.tensor([[1.0, 0.0], [-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64), atol=1e-8, rtol=0
    )
    assert region.violation(torch.tensor([[2.0, 0], [1, 1], [0, 0]])).tolist() == pytest.approx([1.0, 2**-0.5, 0.0])


@pytest.mark.parametrize(("count", "width"), [(6, 20), (40, 12)])
def test_the_support_within_a_range_is_that_of_a_linear_program(count, width):
    normals, offsets = inequalities(count, width)
    x = examples(8, width)
    g = torch.randn(8, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    region = within_range(x, normals, offsets)
    reached = inner_products(g, region.support(g))
    bound = region.support_bound(g)
    for row in range(8):
        sides = np.stack([-x[row].numpy(), 1 - x[row].numpy()], 1)
        best = -linprog(-g[row].numpy(), normals.numpy(), offsets.numpy(), bounds=sides).fun
        assert float(reached[row]) == pytest.approx(best, abs=1e-6)
        assert best - 1e-9 <= float(bound[row]) <= best + 1e-5


def test_a_projection_is_the_nearest_point():
    """⟨z − Pz, s − Pz⟩ ≤ 0 at the worst s, which is the support in the direction z − Pz."""
    normals, offsets = inequalities(10, 30)
    x = examples(40, 30)
    region = within_range(x, normals, offsets)
    z = 3 * torch.randn(40, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    nearest = region.project(z)
    rest = z - nearest
    assert float(region.violation(nearest).max()) < 1e-12
    assert float(inner_products(rest, region.support(rest) - nearest).max()) < 1e-6


def test_inequalities_that_leave_a_flat_set_and_fixed_coordinates():
    x = torch.zeros(2, 3, dtype=torch.float64)
    flat = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)
    region = Polyhedron.from_inequalities(x, flat, torch.zeros(2)).clip(
        torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([1.0, 1, 0])
    )
    found = region.project(torch.tensor([[1.0, 0, 5], [2.0, -2, 0]], dtype=torch.float64))
    torch.testing.assert_close(
        found, torch.tensor([[0.5, -0.5, 0], [1, -1, 0]], dtype=torch.float64), atol=1e-7, rtol=0
    )
    assert float(region.violation(found).max()) == 0


def test_a_polyhedron_of_linear_programs_meets_a_data_range_without_a_warning():
    """It was an intersection by iterated projections, which stopped with rows still moving."""
    normals, offsets = inequalities(80, 16)
    x = examples(30, 16)
    region = LinearPolyhedron(normals.numpy(), offsets.numpy()).at(x).clip(0 - x, 1 - x)
    assert not isinstance(region, Intersection)
    z = torch.randn(30, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    nearest = region.project(z)
    assert float(region.violation(nearest).max()) < 1e-12
    assert float(inner_products(z, region.support(z) - nearest).min()) > -1e-6


def test_a_scaled_polyhedron_has_scaled_answers():
    normals, offsets = inequalities(5, 8)
    x = examples(6, 8)
    region = within_range(x, normals, offsets)
    g = torch.randn(6, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.testing.assert_close(region.scale(0.25).support(g), 0.25 * region.support(g), atol=1e-7, rtol=0)
    assert float(norms(region.scale(0.0).project(g)).max()) == 0


def test_what_is_no_polyhedron_around_0_is_refused():
    x = torch.zeros(1, 2)
    with pytest.raises(UsageError, match="do not fit perturbations of 2 coordinates"):
        Polyhedron.from_inequalities(x, torch.ones(1, 3), torch.ones(1))
    with pytest.raises(UsageError, match="offsets that are not negative"):
        Polyhedron.from_inequalities(x, torch.ones(1, 2), -torch.ones(1))
    with pytest.raises(UsageError, match="take a Box for bounds alone"):
        Polyhedron.from_inequalities(x, torch.ones(0, 2), torch.ones(0))
    with pytest.raises(UsageError, match="without a box has no proven bound"):
        Polyhedron.from_inequalities(x, torch.ones(1, 2), torch.ones(1)).support_bound(torch.ones(1, 2))
