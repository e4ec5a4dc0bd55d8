"""The options of a class: their fields, names and aliases."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import attrs

from robustfw.errors import RobustfwWarning, UsageError
from robustfw.plugin._grammar import cut
from robustfw.plugin._names import find_option, normalize, suggest
from robustfw.plugin._option_types import help_text
from robustfw.plugin._ratios import number

SMALL_STEP = 0.1
"""Largest ``step_size`` that looks like a distance in pixels; robustfw's steps are shares of the set."""


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
    """The option that a spec's first value is for: the one whose field has ``metadata={"positional": True}``."""
    for field in fields(cls):
        if field.metadata.get("positional"):
            return name_of(field)
    return None


def collector(cls: type) -> str | None:
    """The option that takes those without a field: a list of names and values, ``metadata={"collects": True}``."""
    for field in fields(cls):
        if field.metadata.get("collects"):
            return name_of(field)
    return None


def resolve_names(cls: type, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
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
    collects = collector(cls)
    collected = []
    for key, value in given.items():
        name = find_option(key, names)
        if name is None and collects is not None:
            collected.append([key, value])
            continue
        if name is None:
            raise UsageError(f"{owner} has no option {cut(key)}; {suggest(key, known)}")
        if name in options:
            raise UsageError(f"{owner}: {name} is given twice, once as {key}")
        if normalize(key) == "stepsize" and name == "step":
            explanation = help_text(known[name].type)
            _warn_of_distance(
                value, key=key, text=f"{owner}: {key} is read as step, {explanation}"
            )
        options[name] = value
    if collects is not None and collected:
        options[collects] = [*options.get(collects, []), *collected]
    return options


def _warn_of_distance(value: Any, key: str, text: str) -> None:
    """Warn where a step looks like a distance in pixels: as a share of the set it would be next to nothing."""
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


def default_of(field: attrs.Attribute[Any]) -> Any:
    """The value that a field has if none is given; ``attrs.NOTHING`` where one is required."""
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # a class at run time
