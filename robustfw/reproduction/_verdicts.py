"""Claims decided by intervals over seeds, not by hand."""

from __future__ import annotations

from collections.abc import Sequence

from robustfw.results._seed_means import Mean

CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


def above(mean: Mean, limit: float = 0.0) -> str:
    """Whether the quantity is above a limit, as far as its interval says."""
    if mean.low > limit:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < limit else UNDECIDED


def within(mean: Mean, low: float, high: float) -> str:
    """Whether the quantity is between two limits, as far as its interval says."""
    if low <= mean.low and mean.high <= high:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < low or mean.low > high else UNDECIDED


def all_of(verdicts: Sequence[str]) -> str:
    """Of a claim in several parts: one that fails refutes it, one that is open leaves it open."""
    if NOT_CONFIRMED in verdicts:
        return NOT_CONFIRMED
    return UNDECIDED if UNDECIDED in verdicts else CONFIRMED
