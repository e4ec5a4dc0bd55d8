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
    """An annotation without ``Annotated``."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def leaves(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    parts = typing.get_args(strip(annotation))
    if not parts or typing.get_origin(strip(annotation)) is typing.Literal:
        yield strip(annotation)
    for part in parts:
        yield from leaves(part)


def takes_floats(annotation: Any) -> bool:
    """Whether a whole number given for the type is meant as a float: the type names float, and not int."""
    kinds = set(leaves(annotation))
    return float in kinds and int not in kinds


def is_union(annotation: Any) -> bool:
    """Whether it is ``A | B``."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def is_tuple(annotation: Any) -> bool:
    """Whether it is ``tuple[…]``."""
    return typing.get_origin(annotation) is tuple


def plain_numbers(value: Any, annotation: Any) -> Any:
    """An option's value with numbers as a record has them: ratios as text and, where the type takes floats, no ints."""
    if isinstance(value, list | tuple):
        return [plain_numbers(part, annotation) for part in value]
    if isinstance(value, float | Fraction):
        return ratio_or_float(value)
    if isinstance(value, int) and not isinstance(value, bool) and takes_floats(annotation):
        return float(value)
    return value


def describe_type(annotation: Any) -> str:
    """A type in words, for messages and tables."""
    annotation = strip(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if is_union(annotation):
        return " or ".join(dict.fromkeys(describe_type(part) for part in arguments))
    if origin is typing.Literal:
        return " or ".join(str(part) for part in arguments)
    if origin is tuple:
        parts = [describe_type(part).removeprefix("a ") for part in arguments if part is not Ellipsis]
        return f"a list like [{', '.join(parts)}{', …' if Ellipsis in arguments else ''}]"
    words = {
        int: "a whole number", float: "a number", Fraction: "a ratio like 8/255", bool: "true or false",
        str: "a word", Path: "a path", Array: "numbers like [[1,2],[3,4]] or a path to .npy, .csv or .safetensors",
    }  # fmt: skip
    name = getattr(annotation, "__name__", str(annotation))
    return words.get(annotation, f"the spec of a plugin: {name.lower()}")


def meaning(annotation: Any) -> str:
    """The help text in ``Annotated[type, "help text"]``."""
    return next((extra for extra in typing.get_args(annotation)[1:] if isinstance(extra, str)), "")
