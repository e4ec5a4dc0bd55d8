"""Rounding to the values of an image file: levels, sides and ranges, by hand and by law."""

from __future__ import annotations

import pytest
import torch

from robustfw import make
from robustfw.evaluation._rounding import Levels, measure_excess, round_inside
from robustfw.inner.threat import Threat

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randint(0, 256, (40, 3, 4, 4), generator=GENERATOR).float() / 255


@pytest.mark.parametrize("spec", ["linf:radius=0.1", "linf:radius=8/255", "l2:radius=0.7", "l1:radius=3"])
def test_members_stay_members_where_originals_lie_on_levels(spec):
    threat = Threat(make("uncertainty", spec))
    region = threat.region(X)
    delta = region.support(torch.randn(X.shape, generator=GENERATOR))
    perturbed = threat.apply(region, X, delta)
    levels = Levels.over((0.0, 1.0), X)
    rounded = round_inside(X, perturbed, threat, levels)
    assert float(rounded.excess.max()) == 0
    # what lies on levels itself is not moved
    if spec == "linf:radius=8/255":
        assert not rounded.towards.any()
        torch.testing.assert_close(levels.decode(rounded.levels), perturbed)


def test_a_value_between_two_levels_goes_to_the_side_of_the_original():
    threat = Threat(make("uncertainty", "linf:radius=0.1"))
    x = torch.full((1, 1, 1, 2), 100 / 255)
    perturbed = x + torch.tensor([0.1, -0.1])
    levels = Levels.over((0.0, 1.0), x)
    # 0.1 is 25.5 levels
    assert round_inside(x, perturbed, threat, levels).levels.flatten().tolist() == [125, 75]


def test_levels_span_ranges_per_channel():
    bounds = ((-1.0, 0.0, -2.0), (1.0, 255.0, 2.0))
    levels = Levels.over(bounds, X)
    ends = torch.tensor([[-1.0, 0.0, -2.0], [1.0, 255.0, 2.0]])[:, :, None, None]
    assert levels.encode(ends).flatten().tolist() == [0, 0, 0, 255, 255, 255]
    torch.testing.assert_close(levels.decode(levels.encode(ends)), ends)


def test_without_a_range_levels_span_the_examples():
    levels = Levels.over(None, X * 4 - 2, X * 5)
    assert levels.encode(torch.tensor([[-2.0]])).item() == 0
    assert levels.encode(torch.tensor([[5.0]])).item() == 255


def test_what_leaves_its_set_by_rounding_is_measured():
    """Between x and x̃ lies no level, so that any file is farther from x than x̃ is."""
    threat = Threat(make("uncertainty", "linf:radius=0.001"))
    x = torch.full((1, 1, 2, 2), 100.5 / 255)
    rounded = round_inside(x, x + 0.001, threat, Levels.over((0.0, 1.0), x))
    assert float(rounded.excess) == pytest.approx(0.5 / 255 - 0.001, abs=1e-6)


def test_sets_that_are_not_added_cannot_be_checked():
    threat = Threat(make("uncertainty", "rotation-translation"))
    assert measure_excess(X, X, threat) is None
