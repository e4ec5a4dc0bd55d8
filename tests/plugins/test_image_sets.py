"""Sets of images: patches, rotations and shifts, corruptions, by hand."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import UsageError
from robustfw.regions import inner_products

from ..perturbations import at
from .random_images import directions, images

# patch


def test_a_patch_anywhere_finds_the_brightest_square():
    x = images(shape=(2, 5, 5))
    g = torch.full_like(x, 0.01)
    g[..., 2:4, 1:3] = 1
    farthest = at("patch:side=2,limit=0.3", x).support(g)
    expected = torch.zeros_like(x)
    expected[..., 2:4, 1:3] = 0.3
    torch.testing.assert_close(farthest, expected)


def test_a_patch_at_a_place_is_a_box():
    x = images(shape=(2, 5, 5))
    region = at("patch:side=2,row=3,column=0,limit=0.3", x)
    assert region.convex
    changed = region.project(torch.ones_like(x)) != 0
    assert changed[..., 3:, :2].all()
    assert int(changed.sum()) == len(x) * 2 * 4


def test_a_patch_beyond_the_edge_is_refused():
    with pytest.raises(UsageError, match="side 2 at row 4, column None is not in images of 5x5"):
        at("patch:side=2,row=4", images(shape=(1, 5, 5)))
    with pytest.raises(UsageError, match="needs images"):
        at("patch", torch.rand(2, 7))


# rotation-translation


def test_a_quarter_turn_is_a_rotation_of_the_array():
    x = images(shape=(2, 5, 5))
    delta = torch.tensor([[1.0, 0.0, 0.0]], dtype=x.dtype).expand(len(x), 3)
    turned = at("rotation-translation:angle=90,shift=0", x).apply(x, delta)
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), atol=1e-9, rtol=0)


def test_a_turn_keeps_angles_in_images_that_are_not_square():
    """In the middle of a wide image, the point one pixel to the right comes to lie one pixel above."""
    x = torch.zeros(1, 1, 5, 9, dtype=torch.float64)
    x[..., 2, 5] = 1
    turned = at("rotation-translation:angle=90,shift=0", x).apply(x, torch.tensor([[1.0, 0, 0]], dtype=x.dtype))
    assert float(turned[0, 0, 1, 4]) == pytest.approx(1)


def test_a_shift_moves_by_whole_pixels_to_the_right_and_down():
    x = images(shape=(1, 4, 6))
    region = at("rotation-translation:angle=0,shift=2", x)
    moved = region.apply(x, torch.tensor([[0.0, 1.0, 0.5]], dtype=x.dtype).expand(len(x), 3))
    torch.testing.assert_close(moved[..., 1:, 2:], x[..., :-1, :-2])
    assert float(moved[..., 0, :].abs().max()) < 1e-9
    assert float(moved[..., :2].abs().max()) < 1e-9


def test_gradients_in_the_parameters_are_those_of_differences():
    x = images(2, (1, 6, 6))
    region = at("rotation-translation:angle=20,shift=2", x)
    weights = directions(x)
    delta = torch.full((2, 3), 0.23, dtype=x.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(inner_products(weights, region.apply(x, delta)).sum(), delta)
    for i in range(3):
        nudge = torch.zeros(3, dtype=x.dtype)
        nudge[i] = 1e-6
        ends = [inner_products(weights, region.apply(x, delta.detach() + sign * nudge)) for sign in (1, -1)]
        torch.testing.assert_close(gradient[:, i], (ends[0] - ends[1]) / 2e-6, atol=1e-5, rtol=1e-4)


# corruptions


def test_corruptions_are_listed_and_a_smaller_set_stops_at_milder_ones():
    x = images(shape=(1, 6, 6))
    uncertainty = robustfw.make("uncertainty", "corruptions:kinds=[brightness,blur],severities=[1,2,4]")
    members = uncertainty.at(x).members()
    assert members.shape == (len(x), 7, 1, 6, 6)
    torch.testing.assert_close(members[:, 3], torch.full_like(x, 0.4))
    half = uncertainty.scale(0.5).at(x).members()
    torch.testing.assert_close(half[:, 2], members[:, 2])
    assert float(half[:, 3].abs().max()) == 0


def test_a_blur_keeps_what_is_flat_and_lowers_a_spike():
    flat = torch.full((1, 1, 17, 17), 0.3, dtype=torch.float64)
    spike = torch.zeros_like(flat)
    spike[..., 8, 8] = 1
    spec = "corruptions:kinds=[blur],severities=[5]"
    assert float(at(spec, flat).members().abs().max()) < 1e-12
    blurred = spike + at(spec, spike).members()[:, 1]
    assert float(blurred[0, 0, 8, 8]) < 0.1
    assert float(blurred.sum()) == pytest.approx(1, abs=0.01)


def test_a_corruption_that_is_none_is_refused():
    with pytest.raises(UsageError, match="there is no corruption 'snow'"):
        robustfw.make("uncertainty", "corruptions:kinds=[snow]")
