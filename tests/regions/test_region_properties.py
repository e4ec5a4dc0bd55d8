"""What regions tell of themselves: their members, bounds on the support, how much of a range they cover."""

from __future__ import annotations

import attrs
import pytest
import torch

from robustfw import UsageError
from robustfw.regions import (
    Finite,
    Intersection,
    Parametric,
    Sum,
    Union,
    coverage,
    inner_products,
)

from ..perturbations import at
from .parametric_regions import Brightness, Shift, gains, images

# Lists of members


def test_a_finite_set_lists_its_members_and_drops_those_above_its_level():
    x = images(2)
    steps = torch.stack([torch.full_like(x, value) for value in (0.1, 0.2, -0.4)], 1)
    region = Finite.from_candidates(steps, torch.tensor([0.25, 0.5, 1.0]))
    assert region.members().shape == (2, 4, 1, 3, 3)
    assert float(region.support(-torch.ones_like(x)).min()) == pytest.approx(-0.4)
    half = region.scale(torch.tensor([0.5, 1.0]))
    assert half.support(-torch.ones_like(x)).flatten(1)[:, 0].tolist() == pytest.approx([0.0, -0.4])
    assert half.project(torch.full_like(x, 0.14)).flatten(1)[:, 0].tolist() == pytest.approx([0.1, 0.1])
    clipped = region.clip(0 - x, 1 - x).members()
    assert float((x[:, None] + clipped).min()) >= 0


def test_sets_that_are_not_finite_list_nothing():
    x = images(2)
    finite = Finite.from_candidates(torch.ones(2, 1, 1, 3, 3, dtype=x.dtype))
    assert at("l2", x).members() is None
    assert Union((finite, at("l2", x))).members() is None
    assert Union((finite, finite)).members().shape == (2, 4, 1, 3, 3)


# Bounds on the support


def test_bounds_of_combinations():
    x, g = images(), torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    l2, linf = at("l2:radius=0.5", x), at("linf:radius=0.1", x)
    exact = {region: inner_products(g, region.support(g)) for region in (l2, linf)}
    torch.testing.assert_close(Sum((l2, linf)).support_bound(g), exact[l2] + exact[linf])
    torch.testing.assert_close(Union((l2, linf)).support_bound(g), torch.maximum(exact[l2], exact[linf]))
    torch.testing.assert_close(Intersection((l2, linf)).support_bound(g), torch.minimum(exact[l2], exact[linf]))
    torch.testing.assert_close(l2.scale(0.5).support_bound(g), 0.5 * exact[l2])


def test_a_set_without_a_proof_says_so():
    @attrs.frozen(eq=False)
    class Unproven(Parametric):
        apply = Shift.apply

        def support_bound(self, direction):
            return super(Parametric, self).support_bound(direction)

    x = images()
    with pytest.raises(UsageError, match="Unproven has no proven bound on its support"):
        Unproven(gains(x)).support_bound(torch.ones(6, 1))


# How much of a range a set covers


@pytest.mark.parametrize(
    ("spec", "share"),
    [("linf:radius=8", 1.0), ("linf:radius=0.1", 0.1), ("l2:radius=2", 2 / 28), ("l1:radius=8", 8 / 784)],
)
def test_coverage_is_the_share_of_the_range_that_a_set_reaches(spec, share):
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    covered = coverage(at(spec, x), x, 0.0, 1.0)
    assert covered.tolist() == pytest.approx([share] * 3, rel=1e-5)


def test_coverage_in_bounds_of_each_channel_and_of_parameters():
    x = torch.zeros(2, 2, 3)
    upper = torch.tensor([[1.0], [3.0]])
    assert coverage(at("linf:radius=0.5", x), x, torch.zeros(2, 1), upper).tolist() == pytest.approx([0.25, 0.25])
    ones = torch.ones(2, 1, 3, 3)
    assert coverage(Brightness(gains(ones)), ones, 0.0, 1.0).tolist() == pytest.approx([0.5, 0.5])
    assert coverage(at("linf", x[:0]), x[:0], 0.0, 1.0).shape == (0,)
