"""Combinators of regions: each obeys the laws of a set, and equals what is known of it exactly."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import attrs
import pytest
import torch

import robustfw
from robustfw import UncertaintySet, UsageError
from robustfw.regions import Box, Intersection, Masked, Scaled, Sum, Transformed, Union, inner_products, norms
from robustfw.testing import LawBroken
from robustfw.testing._perturbations import check_empty
from robustfw.testing._scaling import check_scale_free, check_smaller_sets
from robustfw.testing._uncertainty import CHECKS, cases
from robustfw.uncertainty import ScaledSet


def at(spec, x):
    return robustfw.make("uncertainty", spec).at(x)


def mirrored(x):
    """An isometry: the pixels in reverse order, with their signs changed."""
    return -x.flatten(1).flip(1).reshape(x.shape)


@attrs.frozen
class Built(UncertaintySet):
    """A set whose region is made by a function of x."""

    region: Any = attrs.field(repr=False)

    def at(self, x):
        return self.region(x.detach())


COMBINATIONS = {
    "intersection of ℓ2 and ℓ1": lambda x: Intersection((at("l2:radius=0.7", x), at("l1:radius=1.5", x))),
    "sum of ℓ2 and ℓ∞": lambda x: Sum((at("l2:radius=0.5", x), at("linf:radius=0.1", x))),
    "union of ℓ∞ and ℓ1": lambda x: Union((at("linf:radius=0.2", x), at("l1:radius=1", x))),
    "ℓ1 on half of the pixels": lambda x: Masked(
        at("l1:radius=1", x), (torch.arange(math.prod(x.shape[1:])) % 2).reshape(x.shape[1:]).expand_as(x)
    ),
    "ℓ2 in another basis": lambda x: Transformed(at("l2:radius=1", x), mirrored, mirrored),
    "ℓ∞ scaled": lambda x: Scaled(at("linf:radius=1", x), torch.full((len(x), 1, 1, 1), 0.5, dtype=x.dtype)),
    "box": lambda x: Box.broadcast(x, -0.2, 0.4),
}


RANGES = ("bare", "in the data range")
"""The first two cases of a set: as it is, and within [0, 1]."""
ITERATED = ("intersection of ℓ2 and ℓ1", "sum of ℓ2 and ℓ∞")
"""Their oracles are iterated, and take thousands of rounds for some rows within the data range."""
QUICK = {"nearest", "project is feasible", "samples", "ascent", "zero is a member", "members"}
"""Laws that even an iterated intersection is asked for within the data range at each run."""
LONG = {("sum of ℓ2 and ℓ∞", "members are fixed"), ("sum of ℓ2 and ℓ∞", "support is maximal")}
"""Laws that project points from far away on the border of a sum, where the last digits take very many rounds."""


def is_slow(name, law, where):
    """Whether the law takes seconds: it is asked for on demand, by the marker."""
    nested = name in ITERATED and where == RANGES[1] and law not in QUICK
    return nested or (name, law) in LONG


LAWS = [
    pytest.param(name, law, where, marks=[pytest.mark.slow] if is_slow(name, law, where) else [])
    for name in COMBINATIONS
    for law in CHECKS
    for where in (RANGES[:1] if name.startswith("sum") else RANGES)
]
"""A sum only bare: within the data range its projection would be nested."""


@pytest.mark.parametrize(("name", "law", "where"), LAWS)
def test_law(name, law, where):
    """On the small shape."""
    CHECKS[law](case_of(name, where))


@functools.cache
def case_of(name, where):
    """The case, made once: its points are of the size of the set, which takes a support."""
    position = RANGES.index(where)
    (case,) = itertools.islice(cases(Built(COMBINATIONS[name]), 0), position, position + 1)
    return case


@pytest.mark.parametrize("name", COMBINATIONS)
def test_empty_batches(name):
    check_empty(Built(COMBINATIONS[name]), 0)


@pytest.mark.parametrize("law", [check_scale_free, check_smaller_sets])
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if not name.startswith(("sum", "intersection"))])
def test_law_of_a_set(name, law):
    law(Built(COMBINATIONS[name]), 0)


def test_the_generic_projection_on_ball_and_box_is_the_exact_one():
    """The closed forms within the data range are an oracle for the generic way."""
    x = torch.rand(40, 3, 4, 4, dtype=torch.float64)
    z = 2 * torch.randn(40, 3, 4, 4, dtype=torch.float64)
    for spec in ("l2:radius=1", "l1:radius=2", "linf:radius=0.2"):
        exact = at(spec, x).clip(0 - x, 1 - x)
        generic = Intersection((at(spec, x), Box.broadcast(x, 0 - x, 1 - x)))
        torch.testing.assert_close(generic.project(z), exact.project(z), atol=1e-6, rtol=0)


def test_the_support_of_an_intersection_comes_within_its_accuracy_of_the_exact_maximum():
    x = torch.rand(40, 3, 4, 4, dtype=torch.float64)
    g = torch.randn(40, 3, 4, 4, dtype=torch.float64)
    for spec in ("l2:radius=1", "l1:radius=2", "linf:radius=0.2"):
        exact = at(spec, x).clip(0 - x, 1 - x)
        generic = Intersection((at(spec, x), Box.broadcast(x, 0 - x, 1 - x)))
        best = inner_products(g, exact.support(g))
        reached = inner_products(g, generic.support(g))
        assert float((best - reached).max()) <= 1e-5 * float(best.max())
        assert float((reached - best).max()) <= 1e-5 * float(best.max())


def test_a_row_of_an_intersection_does_not_wait_for_the_others():
    x = torch.rand(6, 1, 3, 3, dtype=torch.float64)
    z = torch.randn(6, 1, 3, 3, dtype=torch.float64) * torch.tensor([0.1, 1, 10, 0.1, 1, 10]).reshape(-1, 1, 1, 1)
    region = COMBINATIONS["intersection of ℓ2 and ℓ1"](x)
    whole = region.project(z)
    for i in range(6):
        assert torch.equal(region[i : i + 1].project(z[i : i + 1]), whole[i : i + 1])


def test_an_intersection_refuses_members_that_are_not_convex():
    x = torch.rand(2, 1, 2, 2)
    with pytest.raises(UsageError, match="needs convex regions"):
        Intersection((at("l0", x), at("l2", x)))


def test_an_intersection_says_when_it_stops_early():
    x = torch.zeros(1, 2, dtype=torch.float64)
    thin = Intersection((at("l2:radius=1", x), at("l1:radius=1.3", x)), rounds=1)
    with pytest.warns(robustfw.RobustfwWarning, match="stopped after 1 rounds with 1 rows still moving"):
        thin.project(torch.tensor([[3.0, 0.5]], dtype=torch.float64))


def test_the_support_of_a_sum_is_the_sum_of_the_supports():
    x = torch.rand(5, 1, 3, 3, dtype=torch.float64)
    g = torch.randn(5, 1, 3, 3, dtype=torch.float64)
    both = at("l2:radius=0.5", x), at("linf:radius=0.1", x)
    torch.testing.assert_close(Sum(both).support(g), both[0].support(g) + both[1].support(g))


def test_a_union_lies_within_the_data_range_member_by_member():
    x = torch.rand(5, 1, 3, 3, dtype=torch.float64)
    g = torch.randn(5, 1, 3, 3, dtype=torch.float64)
    members = at("l1:radius=1", x), at("linf:radius=0.2", x)
    joined = Union(members).clip(0 - x, 1 - x)
    best = torch.stack([inner_products(g, m.clip(0 - x, 1 - x).support(g)) for m in members]).amax(0)
    torch.testing.assert_close(inner_products(g, joined.support(g)), best)


def test_a_mask_keeps_the_rest_of_the_image():
    x = torch.rand(4, 1, 3, 3, dtype=torch.float64)
    mask = torch.zeros_like(x)
    mask[..., 0] = 1
    patch = Masked(at("linf:radius=1", x), mask).clip(0 - x, 1 - x)
    delta = patch.support(torch.randn_like(x))
    assert float((delta * (1 - mask)).abs().max()) == 0
    assert float(norms(delta).min()) > 0


def test_a_scaled_set_is_the_set_of_the_scaled_radius():
    x = torch.rand(4, 1, 3, 3, dtype=torch.float64)
    g = torch.randn_like(x)
    half = ScaledSet(robustfw.make("uncertainty", "l2:radius=1"), 0.5)
    torch.testing.assert_close(half.at(x).support(g), at("l2:radius=0.5", x).support(g))
    nothing = Scaled(at("l2:radius=1", x), torch.zeros(4, 1, 1, 1, dtype=x.dtype))
    assert float(norms(nothing.project(g)).max()) == 0
    assert float(nothing.violation(g).min()) > 0


def test_rows_of_every_combination():
    x = torch.rand(6, 3, 2, 2, dtype=torch.float64)
    z = torch.randn_like(x)
    for make in COMBINATIONS.values():
        region = make(x)
        rows = torch.tensor([4, 1])
        torch.testing.assert_close(region[rows].project(z[rows]), region.project(z)[rows], atol=1e-6, rtol=0)
        assert len(region[rows]) == 2


def test_an_isometry_that_is_none_is_found_out():
    stretched = Built(lambda x: Transformed(at("l2:radius=1", x), lambda u: 2 * u, lambda d: 2 * d))
    bare = next(cases(stretched, 0))
    with pytest.raises(LawBroken):
        CHECKS["project is feasible"](bare)
