"""Claims decided by intervals over seeds, not by hand."""

from __future__ import annotations

from robustfw.reproduction import CONFIRMED, NOT_CONFIRMED, UNDECIDED, Mean


def judge_above(mean: Mean, limit: float = 0.0) -> str:
    """Whether the quantity is above a limit, as far as its interval says."""
    if mean.low > limit:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < limit else UNDECIDED


def judge_within(mean: Mean, low: float, high: float) -> str:
    """Whether the quantity is between two limits, as far as its interval says."""
    if low <= mean.low and mean.high <= high:
        return CONFIRMED
    return NOT_CONFIRMED if mean.high < low or mean.low > high else UNDECIDED
