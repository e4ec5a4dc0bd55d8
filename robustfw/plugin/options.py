"""Options: one attrs class, and the same spelling in Python, on the command line and in TOML.

Text becomes values here and nowhere else, strictly: an int refuses 2.7 and an unknown key is an error. The grammar of
the text is `robustfw.plugin._grammar`.
"""

from __future__ import annotations

import copy
import math
import typing
from collections.abc import Callable, Container, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import attrs

from robustfw.errors import RobustfwError, UsageError
from robustfw.plugin._arrays import Array
from robustfw.plugin._fields import (
    aliases,
    default_of,
    fields,
    name_of,
    positional,
    resolve_names,
)
from robustfw.plugin._grammar import (
    Spec,
    check_text,
    cut,
    drop_options,
    expand_spec,
    parse,
    read_toml,
    read_value,
    same_values,
)
from robustfw.plugin._help import Help, describe
from robustfw.plugin._names import suggest
from robustfw.plugin._number_lists import numbers
from robustfw.plugin._option_types import (
    describe_type,
    help_text,
    is_tuple,
    is_union,
    leaves,
    plain_numbers,
    strip,
    takes_floats,
)
from robustfw.plugin._ratios import Quotient, number, ratio_or_float, read_ratio
from robustfw.plugin._spelling import spell

__all__ = [
    "Array",
    "Help",
    "Quotient",
    "Ratio",
    "Reader",
    "Spec",
    "aliases",
    "check_text",
    "cut",
    "default_of",
    "describe",
    "describe_type",
    "drop_options",
    "expand_spec",
    "fields",
    "help_text",
    "learnt",
    "name_of",
    "number",
    "numbers",
    "parse",
    "plain_numbers",
    "positional",
    "ratio_or_float",
    "read_toml",
    "read_value",
    "resolve_names",
    "same_values",
    "spell",
    "strip",
    "suggest",
    "takes_floats",
    "with_learnt",
]  # fmt: skip

Ratio: TypeAlias = float | Fraction
"""A number that may be written 8/255; it is then kept exactly, and equals the float 8/255."""

Part = TypeVar("Part")
"""A set, a model, or whatever has options."""


def learnt() -> Any:
    """An attrs field for what a part learns from data: None at first, and no option of the part.

    It counts neither for equality nor in repr and records.
    """
    return attrs.field(init=False, default=None, eq=False, repr=False)


def with_learnt(part: Part, **values: Any) -> Part:
    """A copy of a frozen part whose `learnt` fields have these values; ``attrs.evolve`` would lose the other ones.

    Raises:
        TypeError: a value is for an option.
    """
    options = {field.name for field in fields(type(part))}
    copied = copy.copy(part)
    for name, value in values.items():
        if name in options:
            raise TypeError(
                f"{name} is an option of {type(part).__name__}: attrs.evolve gives a copy with another one"
            )
        object.__setattr__(copied, name, value)
    return copied


class Reader:
    """Makes objects of option classes from mappings, strictly: no value is rounded or guessed."""

    def __init__(
        self, nested: Callable[[type, Any], Any], kinds: Container[Any] = ()
    ) -> None:
        """Prepare to read options.

        Args:
            nested: makes a plugin from its interface and its spec, for options that hold one.
            kinds: the interfaces of plugins.
        """
        import cattrs

        self._converter = cattrs.Converter(detailed_validation=False)
        for kind in (bool, str):
            self._converter.register_structure_hook(kind, _check_exact_type)
        self._converter.register_structure_hook(int, _read_int)
        self._converter.register_structure_hook(float, _read_float)
        self._converter.register_structure_hook(Fraction, _read_fraction)
        self._converter.register_structure_hook(Path, _read_path)
        self._converter.register_structure_hook(Array, lambda value, _: Array(value))
        self._converter.register_structure_hook_func(is_union, self._read_union)
        self._converter.register_structure_hook_func(is_tuple, self._read_tuple)
        self._converter.register_structure_hook_func(
            lambda t: t in kinds, lambda value, t: nested(t, value)
        )

    def build(self, cls: type, options: Mapping[str, Any], owner: str) -> Any:
        """Make ``cls(**options)``, with every value read by the type of its field.

        Args:
            cls: an attrs class.
            options: values by name or alias, as text, numbers, lists or objects.
            owner: whose options they are, for messages.

        Raises:
            UsageError: there is no such option, or a value does not fit.
        """
        types = {name_of(field): field.type for field in fields(cls)}
        values = {}
        for name, value in resolve_names(cls, options, owner).items():
            values[name] = self.read(types[name], value, f"{owner}: {name}")
        try:
            return cls(**values)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UsageError(f"{owner}: {_first_line(error)}") from error

    def read(self, annotation: Any, value: Any, where: str) -> Any:
        """Read a value as the annotated type.

        Args:
            annotation: the type of an option.
            value: what was given.
            where: the option's owner and name, for the message.

        Raises:
            UsageError: the value does not fit; the message says what was expected.
        """
        try:
            return self._converter.structure(value, strip(annotation))
        except RobustfwError as error:
            # the message of a plugin within a plugin has a name already, that of an array has none
            if Array in set(leaves(annotation)):
                raise type(error)(f"{where}: {error}") from error
            raise
        except (
            Exception
        ) as error:  # cattrs raises what the type of the field happens to raise
            raise UsageError(
                f"{where} must be {describe_type(annotation)}, not {cut(value)}"
            ) from error

    def _read_union(self, value: Any, annotation: Any) -> Any:
        """Read a value as the first type of a union that takes it; exact ratios are tried first."""
        if value in (None, "none") and type(None) in typing.get_args(annotation):
            return None
        choices = [
            choice for choice in typing.get_args(annotation) if choice is not type(None)
        ]
        for choice in sorted(choices, key=lambda choice: choice is not Fraction):
            words: tuple[Any, ...] = ()
            if typing.get_origin(choice) is typing.Literal:
                words = typing.get_args(choice)
            if any(type(word) is type(value) and word == value for word in words):
                return value
            if words:
                continue
            try:
                return self._converter.structure(value, strip(choice))
            except (ValueError, TypeError, ArithmeticError):
                continue
        raise ValueError(value)

    def _read_tuple(self, value: Any, annotation: Any) -> Any:
        """Read a list as a tuple of any length, ``tuple[T, ...]``, or of a fixed one, ``tuple[float, float]``."""
        if not isinstance(value, list | tuple):
            raise ValueError(value)
        parts = typing.get_args(annotation)
        types = list(parts)
        if Ellipsis in parts:
            types = [parts[0]] * len(value)
        if len(types) != len(value):
            raise ValueError(value)
        values = []
        for part, type_ in zip(value, types, strict=True):
            values.append(self._converter.structure(part, strip(type_)))
        return tuple(values)


def _check_exact_type(value: Any, annotation: type) -> Any:
    """The value, which must be of the very type: 1 is no bool."""
    if type(value) is not annotation:
        raise ValueError(value)
    return value


def _read_int(value: Any, _: type) -> int:
    """A whole number that torch can hold, unconverted: 2.7 and 10¹⁰⁰ are refused."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return value


def _read_float(value: Any, _: type) -> float:
    """A float from a number or a ratio; NaN is refused."""
    if isinstance(value, bool):
        raise ValueError(value)
    number_read = float(read_ratio(value) if isinstance(value, str) else value)
    if math.isnan(number_read):
        raise ValueError(value)
    return number_read


def _read_fraction(value: Any, _: type) -> Quotient:
    """An exact ratio from a fraction or a text; a number is refused, so that a float is tried next."""
    if isinstance(value, Fraction):
        return Quotient(value)
    if not isinstance(value, str):
        raise ValueError(value)
    return read_ratio(value)


def _read_path(value: Any, _: type) -> Path:
    """A path from a path or a text; ~ is the home directory."""
    text = str(value) if isinstance(value, Path) else value
    if type(text) is not str or "\0" in text:
        raise ValueError(value)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"there is no home directory for {cut(text)}: write the path in full"
        ) from error


def _first_line(error: Exception) -> str:
    """The message of an attrs validator, without the attribute object that it appends."""
    message = error.args[0] if error.args else error
    if str(message):
        return str(message).splitlines()[0]
    return type(error).__name__
