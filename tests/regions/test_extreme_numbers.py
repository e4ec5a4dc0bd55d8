"""Regions of small, large and many numbers."""

from __future__ import annotations

import pytest
import torch

from robustfw.regions import (
    Box,
    Intersection,
    Sum,
    inner_products,
    norms,
)

from ..perturbations import at
from .parametric_regions import images


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-20, 1.0, 1e20, 1e37])
def test_norms_neither_vanish_nor_overflow(size):
    rows = torch.full((3, 4, 4), size)
    rows[1] = 0
    assert norms(rows).tolist() == pytest.approx([4 * size, 0, 4 * size], rel=1e-5)


def test_norms_of_rows_that_are_no_numbers():
    rows = torch.tensor([[1.0, torch.inf], [torch.nan, 1.0], [3.0, 4.0]])
    assert norms(rows)[0] == torch.inf
    assert norms(rows)[1].isnan()
    assert float(norms(rows)[2]) == 5


@pytest.mark.parametrize("spec", ["l2:radius=1", "l1:radius=1", "linf:radius=0.1", "tangent:radius=1"])
@pytest.mark.parametrize("length", [1e-38, 1e-25, 1e30])
def test_a_gradient_of_any_size_is_a_direction(spec, length):
    x = images(dtype=torch.float32)
    g = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    for region in (at(spec, x), at(spec, x).clip(0 - x, 1 - x)):
        reached = inner_products(g, region.support(length * g))
        torch.testing.assert_close(reached, inner_products(g, region.support(g)), rtol=1e-3, atol=1e-5)


def test_an_intersection_takes_small_gradients_for_directions():
    x = images(dtype=torch.float32)
    region = Intersection((at("l2:radius=1", x), at("l1:radius=1.5", x)))
    g = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(region.support(1e-35 * g), region.support(g), atol=1e-4, rtol=0)


@pytest.mark.parametrize("spec", ["l2:radius=1", "l1:radius=1"])
@pytest.mark.parametrize("dimension", [27_648, 150_528])
def test_membership_of_many_equal_coordinates_is_decided_to_the_last_digits(spec, dimension):
    """Sums of squares in float32 were off by 1e-4."""
    power = 0.5 if spec.startswith("l2") else 1.0
    member = torch.full((2, dimension), dimension**-power)
    region = at(spec, torch.zeros(2, dimension))
    assert float(region.violation(member).max()) < 1e-6
    assert region.violation(1.0001 * member).tolist() == pytest.approx([1e-4, 1e-4], rel=0.02)
    projected = region.project(1.0001 * member)
    assert float(region.violation(projected).max()) < 1e-6


def test_a_sum_of_tiny_sets_has_an_outside():
    x = torch.zeros(2, 3, dtype=torch.float32)
    region = Sum((at("l2:radius=1e-7", x), at("linf:radius=1e-7", x)))
    assert float(region.violation(torch.full_like(x, 1e-6)).min()) > 0


def test_an_infinite_box_scaled_by_0_is_a_point():
    x = images()
    assert float(Box.broadcast(x, -torch.inf, torch.inf).scale(0.0).support(torch.ones_like(x)).abs().max()) == 0
    ball = at("l2", x).clip(-torch.inf, torch.inf).scale(0.0)
    assert float(ball.support(torch.ones_like(x)).abs().max()) == 0
