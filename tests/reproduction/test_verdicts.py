"""Verdicts follow from intervals, and intervals from the seeds."""

from __future__ import annotations

import pytest

from robustfw.reproduction._verdicts import above, all_of, within
from robustfw.results._seed_means import Mean


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((1.0, 1.1, 0.9), "confirmed"), ((-1.0, -1.1, -0.9), "not confirmed"), ((1.0, -1.0, 0.5), "undecided")],
)
def test_above(values, verdict):
    assert above(Mean(values)) == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((2.0, 2.01, 1.99), "confirmed"),
        ((1.0, 1.01, 0.99), "not confirmed"),
        ((3.0, 3.01, 2.99), "not confirmed"),
        ((1.5, 1.51, 1.49), "undecided"),
        ((0.0, 4.0), "undecided"),
    ],
)
def test_within(values, verdict):
    assert within(Mean(values), 1.5, 2.5) == verdict


def test_one_seed_decides_nothing():
    assert above(Mean((5.0,))) == "undecided"
    assert within(Mean((5.0,)), 0, 10) == "undecided"


def test_a_difference_has_its_sign():
    assert Mean((0.1, 0.2)).spelled(" points", sign=True) == "+0.15 ± 0.64 points"
    assert Mean((-0.125,)).spelled(" points", 1, sign=True) == "-0.1 points"
    assert Mean((99.0, 99.2)).spelled() == "99.10 ± 1.27 %"


def test_a_claim_of_several_parts():
    assert all_of(["confirmed", "confirmed"]) == "confirmed"
    assert all_of(["confirmed", "undecided"]) == "undecided"
    assert all_of(["undecided", "not confirmed"]) == "not confirmed"
