"""Options: one attrs class, and the same spelling in Python, on the command line and in TOML.

Text becomes values here and nowhere else, strictly: an int refuses 2.7 and an unknown key is an error. The grammar of
the text is `robustfw.plugin._grammar`.
"""

from __future__ import annotations

import copy
import math
import typing
import warnings
from collections.abc import Callable, Container, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import attrs

from robustfw.errors import RobustfwError, RobustfwWarning, UsageError
from robustfw.plugin._arrays import Array
from robustfw.plugin._grammar import (
    Spec,
    as_mapping,
    check_text,
    cut,
    numbers,
    parse,
    read_toml,
    same,
    spell,
    value_of,
    without,
)
from robustfw.plugin._names import find_option, plain, suggest
from robustfw.plugin._option_types import (
    describe_type,
    is_tuple,
    is_union,
    leaves,
    meaning,
    plain_numbers,
    strip,
    takes_floats,
)
from robustfw.plugin._ratios import Quotient, number, ratio_or_float, read_ratio

__all__ = [
    "Array", "Help", "Quotient", "Ratio", "Reader", "Spec", "aliases", "as_mapping", "canonical", "check_text", "cut",
    "default_of", "describe", "describe_type", "fields", "knowing", "learnt", "meaning", "name_of", "number",
    "numbers", "parse", "plain_numbers", "positional", "ratio_or_float", "read_toml", "same", "spell", "strip",
    "suggest", "takes_floats", "value_of", "without",
]  # fmt: skip

Ratio: TypeAlias = float | Fraction
"""A number that may be written 8/255; it is then kept exactly, and equals the float 8/255."""

Part = TypeVar("Part")
"""A set, a model, or whatever has options."""

SMALL_STEP = 0.1
"""Steps below this that are given as ``step_size`` look like distances, where robustfw's are shares of the set."""


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


def fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    """The options of an attrs class, with their annotations resolved."""
    attrs.resolve_types(cls, include_extras=True)
    return tuple(field for field in attrs.fields(cls) if field.init)


def name_of(field: attrs.Attribute[Any]) -> str:
    """An option's name, as it is written in specs and in Python."""
    return field.alias or field.name


def aliases(field: attrs.Attribute[Any]) -> tuple[str, ...]:
    """Other names of an option, which its field declares: ``metadata={"aliases": ("eps",)}``."""
    return tuple(field.metadata.get("aliases", ()))


def positional(cls: type) -> str | None:
    """The option that a spec's first value is for, where its field says ``metadata={"positional": True}``."""
    return next((name_of(field) for field in fields(cls) if field.metadata.get("positional")), None)


def canonical(cls: type, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Options by their own names, whatever alias or spelling they are given by.

    Args:
        cls: an attrs class.
        given: values by the names that were typed.
        owner: whose options they are, for messages.

    Raises:
        UsageError: there is no such option, or one is given twice.
    """
    known = {name_of(field): field for field in fields(cls)}
    names = {name: aliases(field) for name, field in known.items()}
    options: dict[str, Any] = {}
    for key, value in given.items():
        name = find_option(key, names)
        if name is None:
            raise UsageError(f"{owner} has no option {cut(key)}; {suggest(key, known)}")
        if name in options:
            raise UsageError(f"{owner}: {name} is given twice, once as {key}")
        if plain(key) == "stepsize" and name == "step":
            _warn_of_distance(value, key, f"{owner}: {key} is read as step, {meaning(known[name].type)}")
        options[name] = value
    return options


def _warn_of_distance(value: Any, key: str, text: str) -> None:
    """Warn where a step looks like a distance in pixels: read as a share of the set it would be next to nothing."""
    try:
        small = 0 < float(number(value)) < SMALL_STEP
    except (TypeError, ValueError):
        return
    if small:
        warnings.warn(
            f"{text}: {key}={value} is a small share; where a distance was meant, divide it by the radius",
            RobustfwWarning,
            stacklevel=2,
        )


class Reader:
    """Turns mappings into option classes, strictly. ``nested`` reads the value of a field that is itself a plugin."""

    def __init__(self, nested: Callable[[type, Any], Any], kinds: Container[Any] = ()) -> None:
        import cattrs

        self._converter = cattrs.Converter(detailed_validation=False)
        for kind in (bool, str):
            self._converter.register_structure_hook(kind, _exactly)
        self._converter.register_structure_hook(int, _read_int)
        self._converter.register_structure_hook(float, _read_float)
        self._converter.register_structure_hook(Fraction, _read_fraction)
        self._converter.register_structure_hook(Path, _read_path)
        self._converter.register_structure_hook(Array, lambda value, _: Array(value))
        self._converter.register_structure_hook_func(is_union, self._read_union)
        self._converter.register_structure_hook_func(is_tuple, self._read_tuple)
        self._converter.register_structure_hook_func(lambda t: t in kinds, lambda value, t: nested(t, value))

    def build(self, cls: type, options: Mapping[str, Any], owner: str) -> Any:
        """``cls(**options)``, every value read by the type of its field."""
        known = {name_of(field): field for field in fields(cls)}
        given = canonical(cls, options, owner)
        values = {key: self.read(known[key].type, value, f"{owner}: {key}") for key, value in given.items()}
        try:
            return cls(**values)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UsageError(f"{owner}: {_first_line(error)}") from error

    def read(self, annotation: Any, value: Any, where: str) -> Any:
        """``value`` as the annotated type, or a `UsageError` that says what was expected."""
        try:
            return self._converter.structure(value, strip(annotation))
        except RobustfwError as error:
            if Array in set(leaves(annotation)):  # a plugin within a plugin says its own name
                raise type(error)(f"{where}: {error}") from error
            raise
        except Exception as error:  # cattrs raises what the type of the field happens to raise
            raise UsageError(f"{where} must be {describe_type(annotation)}, not {cut(value)}") from error

    def _read_union(self, value: Any, annotation: Any) -> Any:
        """The first member that takes the value; exact ratios before rounded ones, files before words."""
        if value in (None, "none") and type(None) in typing.get_args(annotation):
            return None
        choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
        for choice in sorted(choices, key=lambda c: c is not Fraction):
            try:
                return self._converter.structure(value, strip(choice))
            except (ValueError, TypeError, ArithmeticError):
                continue
        raise ValueError(value)

    def _read_tuple(self, value: Any, annotation: Any) -> Any:
        """A tuple of any length, ``tuple[T, ...]``, or of one: ``tuple[float, float]``."""
        if not isinstance(value, list | tuple):
            raise ValueError(value)
        parts = typing.get_args(annotation)
        kinds = [parts[0]] * len(value) if Ellipsis in parts else list(parts)
        if len(kinds) != len(value):
            raise ValueError(value)
        return tuple(self._converter.structure(part, strip(kind)) for part, kind in zip(value, kinds, strict=True))


def _exactly(value: Any, annotation: type) -> Any:
    """No conversion: 1 is no bool."""
    if type(value) is not annotation:
        raise ValueError(value)
    return value


def _read_int(value: Any, _: type) -> int:
    """No conversion, and no number that torch could not hold: 2.7 and 10¹⁰⁰ are none."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return value


def _read_float(value: Any, _: type) -> float:
    """A float, from a ratio as well; NaN is none."""
    if isinstance(value, bool):
        raise ValueError(value)
    read = float(read_ratio(value) if isinstance(value, str) else value)
    if math.isnan(read):
        raise ValueError(value)
    return read


def _read_fraction(value: Any, _: type) -> Quotient:
    if isinstance(value, Fraction):
        return Quotient(value)
    if not isinstance(value, str):
        raise ValueError(value)
    return read_ratio(value)


def _read_path(value: Any, _: type) -> Path:
    text = str(value) if isinstance(value, Path) else value
    if type(text) is not str or "\0" in text:
        raise ValueError(value)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no home directory for {cut(text)}: write the path in full") from error


@attrs.frozen
class Help:
    """One option as `robustfw show` prints it."""

    name: str
    type: str
    default: str
    meaning: str
    aliases: tuple[str, ...] = ()


def describe(cls: type, plain: Any) -> list[Help]:
    """The options of a class; ``plain`` turns a value into something printable (see `Registry.record`)."""
    return [
        Help(name_of(field), describe_type(field.type), _default(field, plain), meaning(field.type), aliases(field))
        for field in fields(cls)
    ]


def default_of(field: attrs.Attribute[Any]) -> Any:
    """The value that a field has if none is given; ``attrs.NOTHING`` where one is required."""
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def _default(field: attrs.Attribute[Any], plain: Any) -> str:
    default = default_of(field)
    return "required" if default is attrs.NOTHING else spell(plain(default))


def _first_line(error: Exception) -> str:
    """The message of an attrs validator, without the attribute object that it appends."""
    message = error.args[0] if error.args else error
    return str(message).splitlines()[0] if str(message) else type(error).__name__
