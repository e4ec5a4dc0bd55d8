"""Numbers as a reader wants them: shares in per cent with their intervals and denominators."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence

from robustfw import registry
from robustfw.errors import RobustfwError
from robustfw.report.schema import Interval

RADIUS = re.compile(r"radius=(\[[^\]]*\]|[^,\])]*),?")


def percent(share: float | None, digits: int = 1) -> str:
    """0.5225 as 52.2 %; a dash where there is no number."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def measured(share: float | None, interval: Interval, count: int, n: int) -> str:
    """A share with its 95 % interval and its denominator; a dash of none."""
    if share is None:
        return f"–, {count} of {n}"
    low, high = interval
    return f"{100 * share:.2f} % ({100 * low:.2f} to {100 * high:.2f}), {count} of {n}"


def points(difference: float, interval: Interval) -> str:
    """A difference of two shares, in percentage points."""
    low, high = interval
    return f"{100 * difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"


def number(value: float | None, beyond: str = "–") -> str:
    """A number in four digits, without idle zeros."""
    return beyond if value is None else f"{value:.4g}"


def chance(p: float | None) -> str:
    """A p-value."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def bare(uncertainty: str) -> str:
    """A spec without its radius, which a sweep varies: linf:radius=0.1 is linf."""
    return RADIUS.sub("", uncertainty).rstrip(":,") or uncertainty


@functools.cache
def short(spec: str, kind: str = "attack") -> str:
    """A spec without what its plugin takes anyway; as it is where there is no such plugin here."""
    known = registry.installed()
    try:
        return known.spell(known.make(kind, spec), brief=True)
    except RobustfwError:
        return spec


def listed(parts: Sequence[str], most: int = 6) -> str:
    """Some words as a list in a sentence."""
    shown = list(parts[:most])
    if len(parts) > most:
        return f"{', '.join(shown)} and {len(parts) - most} more"
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1] if shown else "none"


def cut(text: str, most: int) -> str:
    """A text that fits its place in a figure."""
    return text if len(text) <= most else text[: most - 1] + "…"


def folded(text: str, width: int, most: int) -> str:
    """A text in lines of a width, and no more lines than fit."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" …")) or text


def times(count: int, one: str, many: str = "") -> str:
    """1 run, 2 runs."""
    return f"{count} {one if count == 1 else many or one + 's'}"
