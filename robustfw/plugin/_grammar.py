"""The grammar of specs: ``name:key=value,key=value`` as text, as a mapping, and back.

Values are TOML literals; a bare word is a string, ``8/255`` an exact ratio, ``(…)`` another spec, ``[…]`` a list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from robustfw.errors import UsageError
from robustfw.plugin._ratios import number

Spec: TypeAlias = str | Mapping[str, Any]
"""What names a plugin and its options: ``"l1:radius=8"`` or ``{"use": "l1", "radius": 8}``."""

DEEPEST = 32
"""Brackets within brackets that a spec may have."""
DECIMAL = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Decimals that TOML refuses, though every programming language reads them: .1 and 5."""
PAIR = re.compile(r"\[[^\[\]\"']*\]/\[[^\[\]\"']*\]")
"""Two lists with a slash between, as a normalisation is written: no list, though brackets are at both ends."""


def same_values(before: Any, now: Any) -> bool:
    """Whether two recorded values are equal; numbers count by their value, however each is written."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        if before.keys() != now.keys():
            return False
        return all(same_values(before[key], now[key]) for key in before)
    if isinstance(before, list | tuple) and isinstance(now, list | tuple):
        if len(before) != len(now):
            return False
        return all(map(same_values, before, now))
    number_before = _read_number(before)
    number_now = _read_number(now)
    return bool(number_before == number_now)


def _read_number(value: Any) -> Any:
    """A recorded ratio as a float; any other value, such as a path with a slash in it, as it is."""
    try:
        return number(value)
    except ValueError:
        return value


def parse(
    text: str, *, first: str | None = None, known: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A spec as a mapping: ``"pgd:steps=10"`` as ``{"use": "pgd", "steps": 10}``.

    Args:
        text: the spec.
        first: the option that a first value without a key is for, as in ``torchvision:resnet50``.
        known: the options there are, for the message.

    Raises:
        UsageError: the text is not in this grammar.
    """
    check_text(text)
    name, _, option_text = text.strip().partition(":")
    name = name.strip()
    options: dict[str, Any] = {"use": name}
    for position, item in enumerate(split(option_text)):
        key, equals, value = item.partition("=")
        # a first value without a key belongs to the positional option
        if not equals and position == 0 and first is not None:
            key = first
            equals = "="
            value = item
        key = key.strip()
        if not equals or not key:
            help_ = _how_to_write(name, known)
            raise UsageError(f"cannot read {cut(item.strip())} in {cut(text)}: {help_}")
        word = key.replace("-", "_")
        if word in options:
            raise UsageError(f"{word} is given twice in {cut(text)}")
        options[word] = read_value(value.strip())
    return options


def _how_to_write(name: str, known: tuple[str, ...]) -> str:
    """Advice for a message: the form of a spec, and the options there are."""
    listed = f"; its options are {', '.join(known)}" if known else ""
    return f"write {name}:key=value,key=value{listed}"


def check_text(text: str) -> None:
    """Refuse a text with a NUL character or with brackets too deep: no spec needs them, and a parser may choke.

    Raises:
        UsageError: the text has either.
    """
    if "\0" in text:
        raise UsageError(
            f"there is a NUL character in {cut(text)}: no name, number or path has one"
        )
    depth = 0
    for char in text:
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if depth > DEEPEST:
            raise UsageError(
                f"there are more than {DEEPEST} brackets within each other in {cut(text)}"
            )


def split(text: str) -> list[str]:
    """The parts between commas, outside brackets and quotes.

    Raises:
        UsageError: a bracket or a quote is not closed, or closed without being opened.
    """
    parts: list[str] = []
    depth = 0
    start = 0
    for position, char in _scan_outside_quotes(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        if depth < 0:
            break
    if depth:
        raise UsageError(f"a bracket or a quote is not closed in {cut(text)}")
    return [part for part in [*parts, text[start:]] if part.strip()]


def _scan_outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """The characters that no quotes enclose, with their positions; in double quotes, a backslash escapes."""
    quote = ""
    escaped = False
    for position, char in enumerate(text):
        if not quote and char in "\"'":
            quote = char
        elif not quote:
            yield position, char
        elif escaped:
            escaped = False
        elif char == "\\" and quote == '"':
            escaped = True
        elif char == quote:
            quote = ""
    if quote:
        raise UsageError(f"a bracket or a quote is not closed in {cut(text)}")


def read_value(text: str) -> Any:
    """The value of an option's text: a TOML literal, a word, a ratio, a list, or a spec in brackets.

    Words and ratios stay text, and so do a spec, without its brackets, and two lists with a slash between, ``[…]/[…]``.

    Raises:
        UsageError: a number is longer or larger than any that a computer holds, or brackets are not closed.
    """
    check_text(text)
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    if PAIR.fullmatch(text):
        return text
    if text.startswith("[") and text.endswith("]"):
        parts = split(text[1:-1])
        return [read_value(part.strip()) for part in parts]
    if DECIMAL.fullmatch(text):
        value = float(text)
    else:
        value = _read_toml_literal(text)
    is_infinite = isinstance(value, float) and math.isinf(value)
    if is_infinite and text.strip("+-") != "inf":
        raise UsageError(
            f"the number {cut(text)} is larger than any that a float holds; write inf if that is meant"
        )
    return value


def _read_toml_literal(text: str) -> Any:
    """The value of a TOML literal; any other text, a date too, as it is."""
    import tomllib

    if "\n" in text or "\r" in text:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as error:  # Python's limit on the digits of an int
        raise UsageError(
            f"the number {cut(text)} has {len(text)} digits, which no option takes"
        ) from error
    if isinstance(value, int | float | str | list | dict):
        return value
    return text


def read_toml(text: str) -> dict[str, Any]:
    """Read a TOML document.

    Raises:
        UsageError: it is not TOML, or holds a number of too many digits, or brackets too deep.
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"it is not TOML: {error}") from error
    except ValueError as error:  # Python's limit on the digits of an int
        raise UsageError(
            "it holds a whole number of more digits than any option takes"
        ) from error
    except RecursionError as error:
        raise UsageError(
            "it holds more brackets within each other than can be read"
        ) from error


def expand_spec(spec: Spec) -> dict[str, Any]:
    """A spec as a mapping with the plugin's name under ``use``, and ``_`` for ``-`` in the names of options.

    Raises:
        UsageError: it names no plugin.
    """
    if isinstance(spec, str):
        return parse(spec)
    if "use" not in spec:
        raise UsageError(f'{cut(dict(spec))} names nothing: add use = "…"')
    options = {}
    for key, value in spec.items():
        word = str(key).replace("-", "_")
        options[word] = value
    return options


def drop_options(spec: str, *names: str) -> str:
    """A spec without some of its own options: ``drop_options("linf:radius=0.1,inner_radius=3", "radius")``.

    Options of specs within it stay, and so does the spelling of what is left. A list of specs is left as it is.
    """
    name, _, option_text = spec.strip().partition(":")
    if name.startswith("["):
        return spec
    options = []
    for item in split(option_text):
        key = item.partition("=")[0].strip().replace("-", "_")
        if key not in names:
            options.append(item.strip())
    if options:
        return f"{name.strip()}:{','.join(options)}"
    return name.strip()


def cut(value: Any, most: int = 60) -> str:
    """A value for a message: its repr, cut to ``most`` characters."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python prints
        return "a number of thousands of digits"
    except RecursionError:
        return "lists within lists"
    if len(text) <= most:
        return text
    return f"{text[: most - 1]}…"
