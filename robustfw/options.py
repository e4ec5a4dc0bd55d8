"""Options: one attrs class, and the same spelling in Python, on the command line and in TOML.

``name:key=value,key=value`` becomes ``{"use": name, key: value}``; a TOML table or a mapping is that already. Values
are TOML literals; a bare word is a string, ``8/255`` stays an exact ratio, ``(…)`` holds another spec and ``[…]`` a
list. Text becomes values here and nowhere else, strictly: an int refuses 2.7 and an unknown key is an error.
"""

from __future__ import annotations

import copy
import difflib
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import attrs

from robustfw.errors import UsageError

Ratio: TypeAlias = float | Fraction
"""A number that may be written 8/255 and is then kept exactly."""

Spec: TypeAlias = str | Mapping[str, Any]
"""What names a plugin and its options: ``"l1:radius=8"`` or ``{"use": "l1", "radius": 8}``."""

Part = TypeVar("Part")
"""A set, a model, or whatever has options."""


def learnt() -> Any:
    """The attrs field of what a part learns from data, None before: no option, no part of equality, repr and record."""
    return attrs.field(init=False, default=None, eq=False, repr=False)


def knowing(part: Part, **values: Any) -> Part:
    """A copy of a frozen part whose `learnt` fields have these values; ``attrs.evolve`` would lose the other ones."""
    known = copy.copy(part)
    for name, value in values.items():
        if name in {field.name for field in fields(type(part))}:
            raise TypeError(f"{name} is an option of {type(part).__name__}: attrs.evolve gives a copy with another one")
        object.__setattr__(known, name, value)
    return known


def parse(text: str) -> dict[str, Any]:
    """``"pgd:steps=10"`` as ``{"use": "pgd", "steps": 10}``."""
    name, _, rest = text.strip().partition(":")
    options: dict[str, Any] = {"use": name.strip()}
    for item in _split(rest):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"cannot read {item.strip()!r} in {text!r}: write {name}:key=value,key=value")
        options[key.strip().replace("-", "_")] = value_of(value.strip())
    return options


def _split(text: str) -> list[str]:
    """The parts between commas, outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth or quote:
        raise UsageError(f"a bracket or a quote is not closed in {text!r}")
    return [part for part in [*parts, text[start:]] if part.strip()]


def value_of(text: str) -> Any:
    """A TOML literal, a bare word, a ratio, a bracketed spec or a list, as the value or text it stands for."""
    import tomllib

    if text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        return [value_of(part.strip()) for part in _split(text[1:-1])]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def as_mapping(spec: Spec) -> dict[str, Any]:
    """A spec in its long form."""
    if isinstance(spec, str):
        return parse(spec)
    if "use" not in spec:
        raise UsageError(f'{dict(spec)!r} names nothing: add use = "…"')
    return {str(key).replace("-", "_"): value for key, value in spec.items()}


def suggest(word: str, known: Iterable[str]) -> str:
    """The close names, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names) or 'none'}"


def fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    """The options of an attrs class, with their annotations resolved."""
    attrs.resolve_types(cls, include_extras=True)
    return tuple(field for field in attrs.fields(cls) if field.init)


class Reader:
    """Turns mappings into option classes, strictly. ``nested`` reads the value of a field that is itself a plugin."""

    def __init__(self, nested: Callable[[type, Any], Any], kinds: Container[Any] = ()) -> None:
        import cattrs

        self._converter = cattrs.Converter(detailed_validation=False)
        for kind in (int, bool, str):
            self._converter.register_structure_hook(kind, _exactly)
        self._converter.register_structure_hook(float, _read_float)
        self._converter.register_structure_hook(Fraction, _read_fraction)
        self._converter.register_structure_hook(Path, lambda value, _: Path(_exactly(value, str)).expanduser())
        self._converter.register_structure_hook_func(_is_union, self._read_union)
        self._converter.register_structure_hook_func(_is_tuple, self._read_tuple)
        self._converter.register_structure_hook_func(lambda t: t in kinds, lambda value, t: nested(t, value))

    def build(self, cls: type, options: Mapping[str, Any], owner: str) -> Any:
        """``cls(**options)``, every value read by the type of its field."""
        known = {field.alias or field.name: field for field in fields(cls)}
        for key in options:
            if key not in known:
                raise UsageError(f"{owner} has no option {key!r}; {suggest(key, known)}")
        values = {key: self.read(known[key].type, value, f"{owner}: {key}") for key, value in options.items()}
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{owner}: {_first_line(error)}") from error

    def read(self, annotation: Any, value: Any, where: str) -> Any:
        """``value`` as the annotated type, or a `UsageError` that says what was expected."""
        try:
            return self._converter.structure(value, strip(annotation))
        except UsageError:
            raise
        except Exception as error:  # cattrs raises what the type of the field happens to raise
            raise UsageError(f"{where} must be {describe_type(annotation)}, not {value!r}") from error

    def _read_union(self, value: Any, annotation: Any) -> Any:
        """The first member that takes the value; exact ratios before rounded ones."""
        if value in (None, "none") and type(None) in typing.get_args(annotation):
            return None
        choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
        for choice in sorted(choices, key=lambda c: c is not Fraction):
            try:
                return self._converter.structure(value, choice)
            except (ValueError, TypeError):
                continue
        raise ValueError(value)

    def _read_tuple(self, value: Any, annotation: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError(value)
        return tuple(self._converter.structure(part, typing.get_args(annotation)[0]) for part in value)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _is_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _exactly(value: Any, annotation: type) -> Any:
    """No conversion: 2.7 is no int, 1 is no bool."""
    if type(value) is not annotation:
        raise ValueError(value)
    return value


def _read_float(value: Any, _: type) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    return float(_read_fraction(value, Fraction)) if isinstance(value, str) else float(value)


def _read_fraction(value: Any, _: type) -> Fraction:
    if isinstance(value, Fraction):
        return value
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(value)
    top, bottom = value.split("/")
    if int(bottom) == 0:
        raise ValueError(value)
    return Fraction(int(top), int(bottom))


def number(value: Any) -> Any:
    """A recorded ratio as a float, in lists too; other values as they are."""
    if isinstance(value, list | tuple):
        return [number(part) for part in value]
    return _read_float(value, float) if isinstance(value, str) and "/" in value else value


def strip(annotation: Any) -> Any:
    """An annotation without ``Annotated``."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def describe_type(annotation: Any) -> str:
    """A type in words, for messages and tables."""
    annotation = strip(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if _is_union(annotation):
        return " or ".join(dict.fromkeys(describe_type(part) for part in arguments))
    if origin is typing.Literal:
        return " or ".join(str(part) for part in arguments)
    if origin is tuple:
        return f"a list like [{describe_type(arguments[0]).removeprefix('a ')}, …]"
    words = {
        int: "a whole number", float: "a number", Fraction: "a ratio like 8/255", bool: "true or false",
        str: "a word", Path: "a path",
    }  # fmt: skip
    return words.get(annotation, f"the spec of a plugin: {annotation.__name__.lower()}")


@attrs.frozen
class Help:
    """One option as `robustfw show` prints it."""

    name: str
    type: str
    default: str
    meaning: str


def describe(cls: type, plain: Any) -> list[Help]:
    """The options of a class; ``plain`` turns a value into something printable (see `Registry.record`)."""
    return [
        Help(field.alias or field.name, describe_type(field.type), _default(field, plain), meaning(field.type))
        for field in fields(cls)
    ]


def meaning(annotation: Any) -> str:
    """The help text in ``Annotated[type, "help text"]``."""
    return next((extra for extra in typing.get_args(annotation)[1:] if isinstance(extra, str)), "")


def _default(field: attrs.Attribute[Any], plain: Any) -> str:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        default = default.factory()
    return "required" if default is attrs.NOTHING else spell(plain(default))


def spell(value: Any) -> str:
    """A recorded value in the grammar of specs; the inverse of `parse` for a mapping."""
    if isinstance(value, Mapping):
        items = ",".join(f"{key}={_nested(part)}" for key, part in value.items() if key != "use")
        return f"{value['use']}:{items}" if items else str(value["use"])
    if isinstance(value, list | tuple):
        return "[" + ",".join(_nested(part) for part in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _nested(value: Any) -> str:
    return f"({spell(value)})" if isinstance(value, Mapping) else spell(value)


def _first_line(error: Exception) -> str:
    """The message of an attrs validator, without the attribute object that it appends."""
    message = error.args[0] if error.args else error
    return str(message).splitlines()[0] if str(message) else type(error).__name__
