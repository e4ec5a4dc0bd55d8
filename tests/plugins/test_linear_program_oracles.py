"""Robust linear programs over sets that only have oracles, and what they refuse."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import torch

import robustfw
from robustfw import UncertaintySet, UsageError
from robustfw_linear import (
    Budget,
    RobustLP,
)

from .random_programs import instance


def test_a_region_of_ones_own_serves_as_it_is():
    """The budget as robustfw's ℓ1 ball within a box, of which no formula is known here."""
    cost, matrix, limits = instance(2)
    rows = torch.as_tensor(matrix)
    ball = robustfw.make("uncertainty", "l1:radius=0.3").at(rows).clip(-0.2, 0.2)
    program = RobustLP(cost, matrix, limits, ball, lower=-3, upper=3)
    known = RobustLP(cost, matrix, limits, Budget(0.2, 1.5), lower=-3, upper=3).solve("reformulation")
    assert program.solve().value == pytest.approx(known.value, abs=1e-8)
    assert program.solve("online", accuracy=0.1).violation <= 0.1
    with pytest.raises(UsageError, match="no formula is known for L1Ball"):
        program.solve("reformulation")


def test_sets_that_are_not_convex_have_cuts_and_no_online_method():
    """The worst change of one coefficient, by at most 0.3, is the ℓ1 ball's: a linear function sees the hull."""
    cost, matrix, limits = instance(2)
    sparse = RobustLP(cost, matrix, limits, "l0:radius=1,limit=0.3", lower=-3, upper=3)
    ball = RobustLP(cost, matrix, limits, "l1:radius=0.3", lower=-3, upper=3)
    assert sparse.solve().value == pytest.approx(ball.solve().value, abs=1e-9)
    with pytest.raises(UsageError, match="convex"):
        sparse.solve("online")


@attrs.frozen
class Applied(UncertaintySet):
    """A ball of parameters that moves rows in a way of its own."""

    power: int = 1
    strength: ClassVar[float] = 0.5

    def at(self, x):
        ball = robustfw.make("uncertainty", "l2:radius=0.2").at(x)

        class Moved(type(ball)):
            def apply(region, x, delta):
                return x + self.strength * delta.flip(1) ** self.power

        return Moved(ball.like, ball.radius)


def test_parameters_of_a_change_are_as_good_as_the_change():
    cost, matrix, limits = instance(2)
    moved = RobustLP(cost, matrix, limits, Applied(), lower=-3, upper=3)
    ball = RobustLP(cost, matrix, limits, "l2:radius=0.1", lower=-3, upper=3)
    assert moved.solve().value == pytest.approx(ball.solve().value, abs=1e-8)
    assert moved.solve("online", accuracy=0.1).violation <= 0.1


def test_a_change_that_is_not_affine_is_refused():
    with pytest.raises(UsageError, match="not affine"):
        RobustLP(*instance(2), Applied(power=3), lower=-3, upper=3).solve()
