"""Numbers as a reader wants them: shares in per cent with their intervals and denominators."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from robustfw.errors import RobustfwError
from robustfw.plugin import options

Interval: TypeAlias = tuple[float, float]
INTERVALS = "In brackets: 95 % intervals (Wilson's), in per cent."
SYMBOLS = {
    "passed": "✓ passed",
    "failed": "✗ failed",
    "not checked": "– not checked",
    "sound": "✓ sound",
    "suspicious": "✗ suspicious",
    "confirmed": "✓ confirmed",
    "not confirmed": "✗ not confirmed",
    "undecided": "? undecided",
}
"""Verdicts as a word and a sign, so that they need no colour."""


def printable(text: str) -> str:
    """Text without control characters, direction marks and halves of characters, which are replaced by �.

    Neither HTML nor SVG can hold control characters; ESC commands a terminal; U+202E and its like turn text around.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def verdict(word: str) -> str:
    """A verdict as a word and a sign."""
    return SYMBOLS.get(word, word)


def fact(name: str, text: str) -> str:
    """A line of the console: what it is, and its value."""
    return f"{name:<16} {text}"


def share(name: str, count: int, n: int, interval: Interval, what: str = "") -> str:
    """A line of the console: a share with its denominator and its 95 % interval.

    Args:
        name: What it is.
        count: Examples that count.
        n: All examples.
        interval: Of the share.
        what: What holds for the examples that count, where the name does not say it.
    """
    low, high = interval
    shown = f"{count / n:7.2%}" if n else "      -"
    denominator = " ".join(word for word in (f"{count} of {n}", what) if word)
    return fact(name, f"{shown}   {denominator}, 95 % interval {low:.2%} to {high:.2%}")


def percent(share: float | None, digits: int = 1) -> str:
    """0.5225 as 52.2 %; a dash where there is no number."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def format_share(share: float | None, interval: Interval, count: int, n: int) -> str:
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


def radius(value: float) -> str:
    """A radius as people write it: 8/255, or a number in four digits."""
    written = options.ratio_or_float(value)
    return written if isinstance(written, str) else number(written)


def chance(p: float | None) -> str:
    """A p-value."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


@functools.cache
def drop_radius(uncertainty: str) -> str:
    """A spec without its radius, which a sweep varies: linf:radius=0.1 is linf. Radii of sets within it stay."""
    try:
        return options.without(uncertainty, "radius")
    except RobustfwError:
        return uncertainty


@functools.cache
def abbreviate(spec: str, kind: str = "attack") -> str:
    """A spec without what its plugin takes anyway; as it is where there is no such plugin here."""
    from robustfw.plugin import registry

    known = registry.installed()
    try:
        return known.spell(known.make(kind, spec), brief=True)
    except RobustfwError:
        return spec


def spell_value(value: Any) -> str:
    """A recorded value in the grammar of specs; one from a damaged record as it stands."""
    try:
        return options.spell(value)
    except (KeyError, TypeError, ValueError):  # a mapping somewhere in it names no plugin
        return str(value)


def commands(lines: Iterable[str]) -> list[str]:
    """Each command once, without those that are not known."""
    return list(dict.fromkeys(line for line in lines if line))


def join_words(parts: Sequence[str], most: int = 6) -> str:
    """Some words as a list in a sentence."""
    shown = list(parts[:most])
    if len(parts) > most:
        return f"{', '.join(shown)} and {len(parts) - most} more"
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1] if shown else "none"


def truncate(text: str, most: int) -> str:
    """A text that fits its place in a figure."""
    return text if len(text) <= most else text[: most - 1] + "…"


def wrap_text(text: str, width: int, most: int) -> str:
    """A text in lines of a width, and no more lines than fit."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" …")) or text


def count_of(count: int, one: str, many: str = "") -> str:
    """1 run, 2 runs."""
    return f"{count} {one if count == 1 else many or one + 's'}"
