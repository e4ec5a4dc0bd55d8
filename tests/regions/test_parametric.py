"""Regions of parameters: x̃ within a range and within combinators, and smaller sets."""

from __future__ import annotations

import attrs
import pytest
import torch

import robustfw
from robustfw import UncertaintySet, UsageError
from robustfw.regions import (
    Box,
    Clipped,
    Intersection,
    Masked,
    Parametric,
    Scaled,
    Sum,
    Transformed,
    Union,
    norms,
)
from robustfw.testing._uncertainty import LAWS
from robustfw_norms.balls import L2Ball

from .parametric_regions import Brightness, Shift, gains, images


class Multiplied(L2Ball):
    """x·(1 + δ) with δ of the shape of x, which overrides `apply` and nothing else."""

    def apply(self, x, delta):
        return x * (1 + delta)

    def clip(self, lower, upper):
        return super(L2Ball.__base__, self).clip(lower, upper)  # the default of a region


# x̃ within a range and within combinators


def test_a_range_keeps_an_apply_that_is_overridden_alone():
    """x(1 + δ) leaves 0 at 0; within a range it became x + δ."""
    x = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    region = Multiplied.at(x, 0.3).clip(0 - x, 1 - x)
    assert not region.additive
    delta = torch.full_like(x, 0.1)
    torch.testing.assert_close(region.apply(x, delta), torch.tensor([[0.0, 0.55, 1.0]], dtype=torch.float64))


def test_ranges_of_ranges_are_the_narrower_one():
    x = images()
    region = Brightness(gains(x)).clip(0 - x, 1 - x).clip(-0.1, 0.1)
    moved = region.apply(x, torch.full((6, 1), 0.5, dtype=x.dtype))
    assert float((moved - x).abs().max()) <= 0.1 + 1e-12
    assert isinstance(region, Clipped)


COMBINED = {
    "scaled": lambda x: Scaled(Brightness(gains(x)), torch.full((6, 1), 0.5, dtype=x.dtype)),
    "intersection": lambda x: Intersection((Brightness(gains(x)), Box.broadcast(gains(x).like, -0.2, 0.2))),
    "sum": lambda x: Sum((Brightness(gains(x)), Box.broadcast(gains(x).like, -0.2, 0.2))),
    "union": lambda x: Union((Brightness(gains(x)), Brightness(gains(x, 0.1)))),
    "transformed": lambda x: Transformed(Brightness(gains(x)), torch.neg, torch.neg),
}


@pytest.mark.parametrize("name", COMBINED)
def test_combinators_forward_what_delta_means(name):
    x = images()
    region = COMBINED[name](x).clip(0 - x, 1 - x)
    assert not region.additive
    delta = torch.full((6, 1), 0.1, dtype=x.dtype)
    sign = -1 if name == "transformed" else 1
    torch.testing.assert_close(region.apply(x, delta), (x * (1 + sign * 0.1)).clamp(0, 1))
    assert region[torch.tensor([3, 1])].apply(x[:2], delta[:2]).shape == (2, 1, 3, 3)


@pytest.mark.parametrize(
    ("combinator", "name"), [(Intersection, "an intersection"), (Sum, "a sum"), (Union, "a union")]
)
def test_combinators_refuse_two_meanings_of_delta(combinator, name):
    x = images()
    with pytest.raises(UsageError, match=f"{name} cannot hold both Brightness and Shift"):
        combinator((Brightness(gains(x)), Shift(gains(x)).scale(0.5)))


def test_a_union_refuses_to_mix_and_a_mask_to_guess():
    x = images()
    with pytest.raises(UsageError, match="a union cannot hold both sets whose x̃ is x \\+ δ and sets whose x̃ is not"):
        Union((Brightness(gains(x)), gains(x)))
    with pytest.raises(UsageError, match="Brightness is none"):
        Masked(Brightness(gains(x)), torch.ones(6, 1))


# Sets of parameters, and smaller ones


@attrs.frozen
class Brighter(UncertaintySet):
    region: type[Parametric] = attrs.field(repr=False, default=Brightness)

    def at(self, x):
        return self.region(gains(x.detach()))


@pytest.mark.parametrize("law", [law for law in LAWS if law.name != "plain options"], ids=lambda law: law.name)
def test_a_parametric_set_obeys_the_laws(law):
    law.check(Brighter(), 0)


def test_a_smaller_parametric_set_has_smaller_parameters_and_the_same_range():
    """f·𝒰 ∩ range divided the range by f, of the shape of x, for parameters of another shape."""
    x = images()
    small = Brighter().scale(0.5).at(x).clip(0 - x, 1 - x)
    assert float(small.violation(torch.full((6, 1), 0.26, dtype=x.dtype)).min()) > 0
    moved = small.apply(x, torch.full((6, 1), 0.25, dtype=x.dtype))
    torch.testing.assert_close(moved, (1.25 * x).clamp(0, 1))


def test_a_set_decides_on_its_smaller_set():
    @attrs.frozen
    class Whole(UncertaintySet):
        radius: int = 4

        def at(self, x):
            return L2Ball.at(x, float(self.radius))

        def scale(self, factor):
            return Whole(int(self.radius * factor))

    x, g = images(), torch.ones(6, 1, 3, 3, dtype=torch.float64)
    assert Whole().scale(0.6) == Whole(2)
    assert norms(robustfw.uncertainty.ScaledSet(Whole(), 0.6).at(x).support(g)).tolist() == pytest.approx([2.0] * 6)


def test_factors_of_factors_are_one():
    twice = robustfw.make("uncertainty", "l2:radius=1").scale(0.5).scale(0.5)
    assert twice == robustfw.make("uncertainty", "l2:radius=1").scale(0.25)
