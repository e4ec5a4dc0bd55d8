"""The annotations of options: their parts, and what each is called in messages and tables."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from robustfw.plugin._arrays import Array
from robustfw.plugin._ratios import ratio_or_float


def strip(annotation: Any) -> Any:
    """The type in ``Annotated[type, …]``; any other annotation as it is."""
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0]
    return annotation


def leaves(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, such as int and float of ``tuple[int | float, ...]``."""
    kind = strip(annotation)
    parts = typing.get_args(kind)
    if not parts or typing.get_origin(kind) is typing.Literal:
        yield kind
    for part in parts:
        yield from leaves(part)


def takes_floats(annotation: Any) -> bool:
    """Whether a whole number given for the type is meant as a float: the type names float, and not int."""
    kinds = set(leaves(annotation))
    return float in kinds and int not in kinds


def is_union(annotation: Any) -> bool:
    """Whether an annotation is of the form ``A | B``."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def is_tuple(annotation: Any) -> bool:
    """Whether an annotation is of the form ``tuple[…]``."""
    return typing.get_origin(annotation) is tuple


def plain_numbers(value: Any, annotation: Any) -> Any:
    """An option's value with numbers as records have them: ratios as text, ints as floats where the type is float."""
    if isinstance(value, list | tuple):
        return [plain_numbers(part, annotation) for part in value]
    if isinstance(value, float | Fraction):
        return ratio_or_float(value)
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and takes_floats(annotation)
    ):
        return float(value)
    return value


def describe_type(annotation: Any) -> str:
    """A type in words, for messages and tables."""
    annotation = strip(annotation)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if is_union(annotation):
        return " or ".join(dict.fromkeys(describe_type(part) for part in arguments))
    if origin is typing.Literal:
        return " or ".join(str(part) for part in arguments)
    if origin is tuple:
        parts = []
        for part in arguments:
            if part is not Ellipsis:
                parts.append(describe_type(part).removeprefix("a "))
        more = ", …" if Ellipsis in arguments else ""
        return f"a list like [{', '.join(parts)}{more}]"
    words = {
        int: "a whole number",
        float: "a number",
        Fraction: "a ratio like 8/255",
        Any: "a value",
        bool: "true or false",
        str: "a word",
        Path: "a path",
        Array: "numbers like [[1,2],[3,4]] or a path to .npy, .csv or .safetensors",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return words.get(annotation, f"the spec of a plugin: {name.lower()}")


def help_text(annotation: Any) -> str:
    """The help text in ``Annotated[type, "help text"]``; empty where there is none."""
    extras = typing.get_args(annotation)[1:]
    return next((extra for extra in extras if isinstance(extra, str)), "")
