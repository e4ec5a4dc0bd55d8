"""Sets of parameters, smaller sets and lists of members that are wrong in known ways: each dies by its law."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor

from robustfw import UncertaintySet
from robustfw.regions import Box, Finite, Intersection, Parametric, Region, per_row
from robustfw_norms.balls import L2Ball

from .laws import broken_laws


class Gain(Parametric):
    """x·(1 + δ), one gain for each example."""

    def apply(self, x, delta):
        return x * (1 + per_row(delta[:, 0], x))


class UndoneByTheRange(Gain):
    """Its range is a box on δ, as if x̃ were x + δ."""

    def clip(self, lower, upper):
        return Intersection((self.parameters, Box.broadcast(self.like, -1.0, 1.0)))


class NotClamped(Gain):
    """Its range is none."""

    def clip(self, lower, upper):
        return self


class Restless(Gain):
    """δ = 0 changes x."""

    def apply(self, x, delta):
        return x * (1.01 + per_row(delta[:, 0], x))


class MixesRows(Gain):
    """x̃ of a row depends on the others."""

    def apply(self, x, delta):
        return x * (1 + delta.mean())


class ForgetsTheType(Gain):
    """x̃ is in float32, whatever x is."""

    def apply(self, x, delta):
        return super().apply(x, delta).float()


@attrs.frozen
class GainSet(UncertaintySet):
    """A gain of up to a half."""

    region: type[Parametric] = attrs.field(repr=False)

    def at(self, x):
        gains = torch.full_like(x.flatten(1)[:, :1], 0.5)
        return self.region(Box.broadcast(gains, -gains, gains))


def test_a_parametric_set_breaks_no_law():
    assert broken_laws(GainSet(Gain)) <= {"plain options"}


@pytest.mark.parametrize("region", [UndoneByTheRange, NotClamped, Restless, MixesRows, ForgetsTheType])
def test_a_wrong_apply_dies_by_the_law_that_calls_it(region):
    assert "apply" in broken_laws(GainSet(region))


@attrs.frozen
class HalfMoves(UncertaintySet):
    """Two moves, of which a smaller set has halves: not nested, and so no smaller set."""

    def at(self, x):
        x = x.detach()
        return Finite.from_candidates(torch.stack([torch.ones_like(x), -torch.ones_like(x)], 1))

    def scale(self, factor):
        return Halved(factor)


@attrs.frozen
class Halved(UncertaintySet):
    factor: float

    def at(self, x):
        x = self.factor * torch.ones_like(x.detach())
        return Finite.from_candidates(torch.stack([x, -x], 1))


@attrs.frozen
class NeverNothing(UncertaintySet):
    """Its smaller set is the set."""

    def at(self, x):
        return L2Ball.at(x, 0.8)

    def scale(self, factor):
        return self


@pytest.mark.parametrize("uncertainty", [HalfMoves(), NeverNothing()])
def test_smaller_sets_that_are_not_nested_or_never_empty_die(uncertainty):
    assert "smaller sets" in broken_laws(uncertainty)


@attrs.frozen(eq=False)
class Incomplete(Region):
    """A finite set that lists too few members, or points that are none."""

    finite: Finite
    listed: Callable[[Tensor], Tensor]

    @property
    def like(self):
        return self.finite.like

    @property
    def convex(self):
        return False

    def violation(self, delta):
        return self.finite.violation(delta)

    def project(self, point):
        return self.finite.project(point)

    def support(self, direction):
        return self.finite.support(direction)

    def sample(self, generator):
        return self.finite.sample(generator)

    def clip(self, lower, upper):
        return attrs.evolve(self, finite=self.finite.clip(lower, upper))

    def scale(self, factor):
        return attrs.evolve(self, finite=self.finite.scale(factor))

    def members(self):
        return self.listed(self.finite.members())


@attrs.frozen
class Listed(UncertaintySet):
    listed: Callable[[Tensor], Tensor] = attrs.field(repr=False)

    def at(self, x):
        x = x.detach()
        return Incomplete(
            Finite.from_candidates(torch.stack([torch.ones_like(x), -torch.ones_like(x)], 1)), self.listed
        )


@pytest.mark.parametrize(
    "listed",
    [lambda members: members[:, 1:], lambda members: members[:, :2], lambda members: 1.5 * members],
    ids=["without 0", "without the last", "what is none"],
)
def test_a_wrong_list_of_members_dies(listed):
    assert "members" in broken_laws(Listed(listed))
