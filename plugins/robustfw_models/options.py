"""Options that the models from elsewhere share; this module imports no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import attrs

Output: TypeAlias = Annotated[
    int | str,
    "name or index of the logits among the outputs; auto where these leave no doubt",
]
Input: TypeAlias = Annotated[
    str | None, "keyword argument that x is given as; none: the first argument"
]
Arguments: TypeAlias = Annotated[
    tuple[tuple[str, Any], ...],
    "names and values for the builder; options without another meaning are added to them",
]


def _check_normalization(_: object, field: object, text: str) -> None:
    """Refuse a text that names no normalisation, before anything is built."""
    if text != "auto":
        from robustfw.interop import Normalization

        Normalization.read(text)


def normalize_option() -> Any:
    """The field of ``normalize``: auto, none, a name, or mean/std."""
    return attrs.field(default="auto", validator=_check_normalization)


def _freeze(value: Any) -> Any:
    """Lists as tuples, so that options can be compared and hashed."""
    if isinstance(value, list | tuple):
        return tuple(_freeze(part) for part in value)
    return value


def arguments_option() -> Any:
    """The field of ``arguments``, which takes the options that are the builder's."""
    return attrs.field(default=(), converter=_freeze, metadata={"collects": True})


def absolute(path: Path) -> Path:
    """The path in full where there is such a file or folder, so that a record finds it from any other folder."""
    return Path(os.path.abspath(path)) if path.exists() else path


def absolute_folder(text: str) -> str:
    """The folder in full where the text names one; any other text as it is."""
    path = Path(text).expanduser()
    return str(absolute(path)) if path.is_dir() else text
