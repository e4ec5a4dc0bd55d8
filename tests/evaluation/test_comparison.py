"""Paired comparisons, held against SciPy and against their own definition."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binom, binomtest

from robustfw.evaluation import Comparison
from robustfw.evaluation._comparison import difference_interval, mcnemar


def test_counts_by_hand():
    first = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1]).bool()
    second = torch.tensor([1, 0, 1, 1, 1, 1, 0, 1]).bool()
    found = Comparison.from_masks(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (3, 1, 3, 1)
    assert found.difference == 0.25
    assert found.interval == difference_interval(1, 3, 8)
    swapped = Comparison.from_masks(second, first)
    assert swapped.difference == -0.25
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))
    assert swapped.p == found.p


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (2, 9), (40, 75), (0, 300), (5000, 5200)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(b, c):
    assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c, 0.5).pvalue, rel=1e-6, abs=1e-12)


def test_nothing_discordant_is_no_evidence():
    assert mcnemar(0, 0) == 1
    low, high = difference_interval(0, 0, 100)
    assert low < 0 < high


@pytest.mark.parametrize(("p_first", "p_second"), [(0.02, 0.05), (0.1, 0.1), (0.3, 0.05)])
def test_the_interval_covers_the_difference_in_95_of_100_cases(p_first, p_second):
    """Exactly, over all outcomes: b and c of 60 examples are trinomial."""
    n, true, covered = 60, p_second - p_first, 0.0
    for b in range(n + 1):
        share = binom.pmf(b, n, p_first)
        for c in range(n + 1 - b):
            low, high = difference_interval(b, c, n)
            if low <= true <= high:
                covered += share * binom.pmf(c, n - b, p_second / (1 - p_first))
    assert 0.93 <= covered <= 0.995
