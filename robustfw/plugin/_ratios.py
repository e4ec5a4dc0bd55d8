"""Ratios such as 8/255: exact, equal to the float nearest to them, and written alike wherever they come from."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

LARGEST_DENOMINATOR = 10_000
"""A float is written as a ratio only if one with a denominator up to this equals it exactly."""
LONG = 15
"""Shortest decimal, in characters, that is written as a ratio: 0.25 stays, 0.03137254901960784 becomes 8/255."""
DIGITS = 40
"""Most characters of a ratio's numerator or denominator."""
RATIO = re.compile(r"([+-]?\d+(?:\.\d+)?) */ *(\d+(?:\.\d+)?)", re.ASCII)
"""A ratio in a text: numerator and denominator may be decimals, the denominator has no sign."""


class Quotient(Fraction):
    """An exact ratio that equals the float nearest to it: 8/255 from the shell is 8/255 as Python divides it.

    Exact arithmetic is that of `Fraction`. Comparisons with floats, and the hash, are those of the nearest float, so
    that two plugins with one radius are equal, wherever each comes from.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, float):
            return float(self) == other
        return super().__eq__(other)

    def __hash__(self) -> int:  # type: ignore[override]  # typeshed's Complex has None
        return hash(float(self))

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, float):
            return float(self) < other
        return super().__lt__(other)

    def __le__(self, other: Any) -> bool:
        if isinstance(other, float):
            return float(self) <= other
        return super().__le__(other)

    def __gt__(self, other: Any) -> bool:
        if isinstance(other, float):
            return float(self) > other
        return super().__gt__(other)

    def __ge__(self, other: Any) -> bool:
        if isinstance(other, float):
            return float(self) >= other
        return super().__ge__(other)

    def __repr__(self) -> str:
        return str(self)


def read_ratio(text: str) -> Quotient:
    """The exact ratio in a text such as ``8/255`` or ``0.5/255``.

    Raises:
        ValueError: the text is no ratio, or one that no float comes near to.
    """
    match = RATIO.fullmatch(text.strip())
    if match is None or max(map(len, match.groups())) > DIGITS:
        raise ValueError(text)
    numerator = Fraction(match[1])
    denominator = Fraction(match[2])
    if denominator == 0:
        raise ValueError(text)
    return Quotient(numerator / denominator)


def ratio_or_float(value: float | Fraction) -> float | str:
    """A number in a record's form: ``"8/255"`` for 8/255, given as float or as ratio; other numbers as floats."""
    number = float(value)
    if not math.isfinite(number) or len(repr(number)) < LONG:
        return number
    ratio = Fraction(number).limit_denominator(LARGEST_DENOMINATOR)
    if float(ratio) != number:
        return number
    # 3/255 is what papers write for 1/85; thirds, fifths and fifteenths stay what they are
    if ratio.denominator > 15 and 255 % ratio.denominator == 0:
        return f"{ratio * 255}/255"
    return str(ratio)


def number(value: Any) -> Any:
    """A recorded ratio as a float, also within lists; other values as they are.

    Raises:
        ValueError: a text with a slash is no ratio.
    """
    if isinstance(value, list | tuple):
        return [number(part) for part in value]
    if isinstance(value, str) and "/" in value:
        return float(read_ratio(value))
    return value
