"""Numbers in a text, with commas between."""

from __future__ import annotations

import math
from fractions import Fraction

from robustfw.errors import UsageError
from robustfw.plugin._grammar import cut, read_value, split
from robustfw.plugin._ratios import Quotient, read_ratio


def numbers(text: str) -> list[float | Quotient]:
    """The numbers in a text, with commas between: ``"0.1,4/255"``; ratios keep their spelling.

    Raises:
        UsageError: a part is no number, or not a finite one.
    """
    values: list[float | Quotient] = []
    for part in split(text):
        value = read_value(part.strip())
        if isinstance(value, str):
            try:
                value = read_ratio(value)
            except ValueError:
                value = None
        is_bool = isinstance(value, bool)
        is_number = isinstance(value, int | float | Quotient) and not is_bool
        if not is_number or not _is_finite(value):
            raise UsageError(
                f"{cut(part.strip())} is no number: write numbers with commas between, like 0.1,4/255"
            )
        if not isinstance(value, Quotient):
            value = float(value)
        values.append(value)
    return values


def _is_finite(value: float | Fraction) -> bool:
    """Whether a number is finite and has a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
