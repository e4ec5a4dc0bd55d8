"""Options that are numbers: how they are checked and compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from robustfw import Ratio

if TYPE_CHECKING:
    pass


def floats(value: Ratio | tuple[Ratio, ...]) -> float | tuple[float, ...]:
    """Numbers as floats, by which sets compare: 8/255 from the shell, an exact ratio, is 8/255 from Python."""
    return (
        tuple(float(number) for number in value)
        if isinstance(value, tuple)
        else float(value)
    )


def check_finite(_: object, field: attrs.Attribute[Any], value: Ratio) -> None:
    """Raise a `ValueError` unless a number is finite and not negative."""
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


def check_all_finite(
    _: object, field: attrs.Attribute[Any], value: Ratio | tuple[Ratio, ...]
) -> None:
    """Raise a `ValueError` unless one or several numbers are finite and not negative."""
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers or not all(0 <= float(number) < math.inf for number in numbers):
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")
