"""Verdicts follow from intervals, and intervals from the seeds."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from robustfw.reproduction.verdicts import T95, Mean, above, all_of, minus, within


@pytest.mark.parametrize("n", [2, 3, 5, 31])
def test_the_interval_is_students(n):
    values = tuple(random.Random(n).gauss(99, 0.1) for _ in range(n))
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    assert (Mean(values).high - sum(values) / n, Mean(values).half) == pytest.approx((half, half), rel=1e-3)


def test_quantiles():
    assert pytest.approx([stats.t.ppf(0.975, df) for df in range(1, len(T95) + 1)], abs=6e-4) == T95


def test_one_seed_says_nothing_of_others():
    one = Mean((5.0,))
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert one.spelled() == "5.00 %"
    assert above(one) == "undecided"
    assert within(one, 0, 10) == "undecided"


def test_many_seeds():
    many = Mean(tuple(float(i % 2) for i in range(100)))
    assert many.half == pytest.approx(1.96 * 0.05025, abs=1e-3)


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


def test_a_claim_of_several_parts():
    assert all_of(["confirmed", "confirmed"]) == "confirmed"
    assert all_of(["confirmed", "undecided"]) == "undecided"
    assert all_of(["undecided", "not confirmed"]) == "not confirmed"


def test_differences_are_paired():
    """What the seeds have in common falls out."""
    assert minus((98.0, 99.0, 97.0), (97.9, 98.9, 96.9)).values == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="zip"):
        minus((1.0,), (1.0, 2.0))
