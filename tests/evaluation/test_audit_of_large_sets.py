"""The masking checklist by hand: what is left standing as the set grows to the whole range."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import Attack, TensorSplit, UncertaintySet
from robustfw.evaluation._audit import Attacks, TransferExamples, audit
from robustfw.inner.threat import Threat
from robustfw.regions import Box, Region
from robustfw.task import Regression

from .one_pixel import PIXELS, SPLIT, OneNumber, Share, audit_pixel, failed_lines, find_line


@attrs.frozen
class LostWhenFar(Attack):
    """Finds its way down unless the set is large."""

    def maximize(self, problem, generator):
        delta = problem.region.support(-torch.ones_like(problem.x))
        return torch.where(delta < -0.3, 0, delta)


def test_what_is_left_standing_in_a_set_without_limits():
    found = audit_pixel(**dict.fromkeys(("many", "double"), Share(0.5, most=0.1)))
    assert failed_lines(found) == {"large radius"}
    assert find_line(found, "large radius").numbers["robust"] == [10, 10, 10]


def test_what_stands_again_in_a_larger_set():
    """As many fail at the end as at the beginning: only the way between them tells."""
    found = audit_pixel(spec="linf:radius=0.25", many=LostWhenFar(), double=LostWhenFar(), split=SPLIT)
    assert find_line(found, "large radius").numbers["robust"] == [0, 10, 10]
    assert find_line(found, "large radius").numbers["largest_rise"] == 10
    assert failed_lines(found) == {"large radius"}


@pytest.mark.parametrize(("spec", "bounds"), [("l0:radius=1,limit=0.2", (0, 1)), ("linf:radius=0.001", None)])
def test_a_set_that_cannot_cover_the_range_is_not_judged_by_what_it_leaves(spec, bounds):
    """l0 moves one of two pixels, however it is scaled; without bounds there is no range."""
    split = TensorSplit(torch.stack([PIXELS, PIXELS], 1), SPLIT.y)

    class Mean(OneNumber):
        def forward(self, x):
            return super().forward(x.mean(1, keepdim=True) + 0.4)

    timid = dict.fromkeys(("many", "double"), Share(0.5, most=0.01))
    line = find_line(audit_pixel(Mean(), split, spec, bounds=bounds, **timid), "large radius")
    assert line.verdict == "not checked"
    assert line.numbers["covers_the_range"] is False


@attrs.frozen(eq=False)
class Brightness(Region):
    """All pixels by one δ: a region whose parameters are not shaped like x, and whose range is its own affair."""

    amount: Box

    @property
    def like(self):
        return self.amount.like

    def violation(self, delta):
        return self.amount.violation(delta)

    def project(self, point):
        return self.amount.project(point)

    def support(self, direction):
        return self.amount.support(direction)

    def sample(self, generator):
        return self.amount.sample(generator)

    def clip(self, lower, upper):
        return self

    def apply(self, x, delta):
        return (x + delta).clamp(0, 1)

    def scale(self, factor):
        return Brightness(Box(factor * self.amount.lower, factor * self.amount.upper))


class Brighter(UncertaintySet):
    def at(self, x):
        return Brightness(Box.broadcast(x[:, :1], -0.05, 0.05))


@attrs.frozen
class Along(Attack):
    """As far as the gradient at 0 says."""

    def maximize(self, problem, generator):
        _, gradient = problem.value_and_grad(problem.region.zero())
        return problem.region.support(gradient)


def test_a_set_that_is_not_additive():
    split = TensorSplit(torch.stack([PIXELS, PIXELS], 1), SPLIT.y)
    attacks = Attacks(**dict.fromkeys(("many", "one", "double", "restarts", "noise"), Along()))
    given = [TransferExamples(torch.arange(10), split.x - 0.05)]
    found = audit(OneNumber(), split, threat=Threat(Brighter()), attacks=attacks, transfer=given)
    assert failed_lines(found) == set()
    assert find_line(found, "large radius").numbers["factors"] == [1, 2, 4, 8, 16]
    assert find_line(found, "large radius").numbers["robust"][0] == 10


def test_when_nothing_is_left_standing():
    found = audit_pixel(**dict.fromkeys(("many", "double"), Share(1.0)))
    assert failed_lines(found) == set()
    assert find_line(found, "noise").numbers["standing"] == 0


def audit_regression(tolerance, many):
    """The list for the pixel itself as an estimate of 0.65."""
    split = TensorSplit(PIXELS.reshape(-1, 1), torch.full((10, 1), 0.65))
    attacks = Attacks(many=many, one=many, double=many, restarts=many, noise=many)
    threat = Threat(robustfw.make("uncertainty", "linf:radius=0.1"), (0.0, 1.0))
    return audit(nn.Identity(), split, threat=threat, attacks=attacks, task=Regression(tolerance=tolerance))


def test_an_error_that_the_data_range_keeps_within_the_tolerance_is_no_sign_of_masking():
    found = audit_regression(0.7, Share(1.0))
    line = find_line(found, "large radius")
    assert line.numbers["robust"] == [10] * len(line.numbers["factors"])
    assert "large radius" not in failed_lines(found)
    assert line.numbers["tolerated"] == 3


def test_an_attack_on_a_regression_that_gets_lost_when_the_set_is_large_still_fails():
    found = audit_regression(0.05, LostWhenFar())
    line = find_line(found, "large radius")
    assert line.numbers["robust"][0] == 0
    assert line.numbers["largest_rise"] == 10
    assert "large radius" in failed_lines(found)
