"""Means over seeds and their intervals, against SciPy's."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from robustfw.results._seed_means import Mean, paired_differences, student_quantile


@pytest.mark.parametrize("n", [2, 3, 5, 31])
def test_the_interval_is_students(n):
    values = tuple(random.Random(n).gauss(99, 0.1) for _ in range(n))
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    assert (Mean(values).high - sum(values) / n, Mean(values).half) == pytest.approx((half, half), rel=1e-3)


@pytest.mark.parametrize("freedom", [1, 2, 5, 9, 10, 30, 1000])
def test_students_quantile_is_that_of_scipy(freedom):
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_one_seed_says_nothing_of_others():
    one = Mean((5.0,))
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert one.spell() == "5.00 %"


def test_many_seeds():
    many = Mean(tuple(float(i % 2) for i in range(100)))
    assert many.half == pytest.approx(stats.t.ppf(0.975, 99) * 0.050252, rel=1e-4)


def test_differences_are_paired():
    """What the seeds have in common falls out."""
    assert paired_differences((98.0, 99.0, 97.0), (97.9, 98.9, 96.9)).values == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="zip"):
        paired_differences((1.0,), (1.0, 2.0))
