"""Numbers, specs and lists in words: shares in per cent with their intervals and denominators, counts with nouns."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from robustfw.errors import RobustfwError
from robustfw.plugin import options

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end of a 95 % interval."""
INTERVALS = "In brackets: 95 % intervals (Wilson's), in per cent."
"""A note below tables whose shares stand before brackets."""
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
    characters = []
    for character in text:
        if character.isprintable() or character in "\n\t":
            characters.append(character)
        else:
            characters.append("\N{REPLACEMENT CHARACTER}")
    return "".join(characters)


def verdict(word: str) -> str:
    """A verdict as a word and a sign."""
    return SYMBOLS.get(word, word)


def fact(name: str, text: str) -> str:
    """A line of the console: what it is, and its value."""
    return f"{name:<16} {text}"


def share(name: str, count: int, n: int, interval: Interval, what: str = "") -> str:
    """A line of the console: a share with its denominator and its 95 % interval.

    Args:
        name: What the share is of, at the beginning of the line.
        count: Examples that count.
        n: All examples.
        interval: The 95 % interval of count / n.
        what: What holds for the examples that count, where the name does not say it.
    """
    low, high = interval
    per_cent = f"{count / n:7.2%}" if n else "      -"
    denominator = f"{count} of {n} {what}".rstrip()
    return fact(
        name, f"{per_cent}   {denominator}, 95 % interval {low:.2%} to {high:.2%}"
    )


def percent(share: float | None, digits: int = 1) -> str:
    """0.5225 as 52.2 %; a dash where there is no number."""
    if share is None:
        return "–"
    return f"{100 * share:.{digits}f} %"


def format_share(share: float | None, interval: Interval, count: int, n: int) -> str:
    """A share with its 95 % interval and its denominator, for a table.

    Args:
        share: count / n; None is shown as a dash.
        interval: the 95 % interval of the share.
        count: examples that count.
        n: all examples.
    """
    if share is None:
        return f"–, {count} of {n}"
    low, high = interval
    ends = f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{100 * share:.2f} % ({ends}), {count} of {n}"


def points(difference: float, interval: Interval) -> str:
    """A difference of two shares, in percentage points."""
    low, high = interval
    ends = f"{100 * low:+.2f} to {100 * high:+.2f}"
    return f"{100 * difference:+.2f} points ({ends})"


def number(value: float | None, beyond: str = "–") -> str:
    """A number in four digits, without idle zeros."""
    if value is None:
        return beyond
    return f"{value:.4g}"


def radius(value: float) -> str:
    """A radius as people write it: 8/255, or a number in four digits."""
    written = options.ratio_or_float(value)
    if isinstance(written, str):
        return written
    return number(written)


def chance(p: float | None) -> str:
    """A p-value in three digits; a dash where there is none."""
    if p is None:
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}"


@functools.cache
def drop_radius(uncertainty: str) -> str:
    """A spec without its radius, which a sweep varies: linf:radius=0.1 is linf. Radii of sets within it stay."""
    try:
        return options.drop_options(uncertainty, "radius")
    except RobustfwError:
        return uncertainty


@functools.cache
def abbreviate(spec: str, kind: str = "attack") -> str:
    """A spec without options at their defaults; as it is where no such plugin is installed."""
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
    except (KeyError, TypeError, ValueError):
        # a mapping somewhere in it names no plugin
        return str(value)


def abbreviate_attacks(specs: Iterable[str]) -> str:
    """Specs of attacks as a list in a sentence, without options at their defaults."""
    return join_words([abbreviate(spec) for spec in specs])


def commands(lines: Iterable[str]) -> list[str]:
    """Each command once, without those that are not known."""
    return list(dict.fromkeys(line for line in lines if line))


def join_words(parts: Sequence[str], most: int = 6) -> str:
    """Some words as a list in a sentence: a, b and c; from more than ``most`` words on, how many more there are."""
    if not parts:
        return "none"
    if len(parts) == 1:
        return parts[0]
    if len(parts) > most:
        shown = ", ".join(parts[:most])
        return f"{shown} and {len(parts) - most} more"
    all_but_last = ", ".join(parts[:-1])
    return f"{all_but_last} and {parts[-1]}"


def truncate(text: str, most: int) -> str:
    """A text of at most so many characters, the last of which is … where something was cut off."""
    if len(text) <= most:
        return text
    return text[: most - 1] + "…"


def wrap_text(text: str, width: int, most: int) -> str:
    """A text in lines of a width.

    Args:
        text: in one line.
        width: characters in a line, at most.
        most: lines, at most; what does not fit is cut off.
    """
    lines = textwrap.wrap(text, width, max_lines=most, placeholder=" …")
    return "\n".join(lines) or text


def format_bytes(count: int) -> str:
    """An amount of memory in words: 0.47 GiB, 12.3 GiB."""
    gibibytes = count / 2**30
    digits = 2 if gibibytes < 10 else 1
    return f"{gibibytes:.{digits}f} GiB"


def count_of(count: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 run, 2 runs.

    Args:
        count: how many.
        one: the noun for one.
        many: the noun for several, where it is not formed by an s.
    """
    if count == 1:
        return f"1 {one}"
    return f"{count} {many or one + 's'}"
