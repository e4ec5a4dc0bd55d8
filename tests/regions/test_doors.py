"""What regions do besides their oracles: x̃, parameters, lists, smaller sets, bounds, small numbers, empty batches."""

from __future__ import annotations

import attrs
import pytest
import torch

import robustfw
from robustfw import UncertaintySet, UsageError
from robustfw.regions import (
    Box,
    Clipped,
    Finite,
    Intersection,
    Masked,
    Parametric,
    Scaled,
    Sum,
    Transformed,
    Union,
    coverage,
    inner_products,
    norms,
    per_row,
)
from robustfw.testing._uncertainty import LAWS
from robustfw_norms.balls import L2Ball


def at(spec, x):
    return robustfw.make("uncertainty", spec).at(x)


@attrs.frozen(eq=False)
class Brightness(Parametric):
    """x·(1 + δ), one δ for each example."""

    def apply(self, x, delta):
        return x * (1 + per_row(delta[:, 0], x))


@attrs.frozen(eq=False)
class Shift(Parametric):
    """x + δ in every coordinate, one δ for each example."""

    def apply(self, x, delta):
        return x + per_row(delta[:, 0], x)


class Multiplied(L2Ball):
    """x·(1 + δ) with δ of the shape of x, which overrides `apply` and nothing else."""

    def apply(self, x, delta):
        return x * (1 + delta)

    def clip(self, lower, upper):
        return super(L2Ball.__base__, self).clip(lower, upper)  # the default of a region


def gains(x, radius=0.5):
    return Box.broadcast(x.flatten(1)[:, :1], -radius, radius)


def images(count=6, dtype=torch.float64):
    return torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


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


# Small, large and many numbers


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
