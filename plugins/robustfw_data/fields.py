"""Options that data sets from elsewhere share, and paths that a run finds again.

This module does not import torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from robustfw import DataError

Range: TypeAlias = tuple[float, float] | Literal["auto"] | None
"""The range in which values are stored."""

RANGE = "values are stored in: [0,255], [-1,1] …, which becomes 0 to 1; auto: bytes, and values from 0 to 1; none: none"
"""Help of the option ``range``."""
TASK = "what targets are for; auto: told from their form"
"""Help of the option ``task``."""
TEST = "share of the examples for tests, where there are no test examples; 1: all"
"""Help of the option ``test``."""
VALIDATION = "share of the training examples set apart for validation"
"""Help of the option ``validation``."""
SEED = "decides the order of the examples, and so the cut"
"""Help of the option ``seed``."""
CLASSES = "number of classes or targets; none: as many as there are"
"""Help of the option ``classes``."""


def check_share(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Validator of attrs: a share from 0 to 1.

    Args:
        _: the object that is made, which is not used.
        field: the option.
        value: its value.

    Raises:
        ValueError: the value is no such share.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{field.name} must be a share from 0 to 1, not {value}")


def check_range(_: object, field: attrs.Attribute[Any], value: Range) -> None:
    """Validator of attrs: a range that ascends.

    Args:
        _: the object that is made, which is not used.
        field: the option.
        value: its value.

    Raises:
        ValueError: its ends do not ascend.
    """
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError(
            f"{field.name} must ascend, not run from {value[0]} to {value[1]}"
        )


def absolute(path: str) -> str:
    """A path that exists, seen from the current directory, as an absolute one; any other as it is.

    A run opens from elsewhere, and finds its data again. A path that does not exist here is relative to the
    data folder.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded) and os.path.exists(expanded):
        return os.path.abspath(expanded)
    return expanded


def find(path: str, root: Path) -> Path:
    """The file or folder of a path, which is absolute or relative to the data folder.

    Args:
        path: as the option has it.
        root: the data folder.

    Raises:
        DataError: there is nothing.
    """
    place = Path(path) if os.path.isabs(path) else root / path
    if not place.exists():
        raise DataError(
            f"there is no {path}, neither in the current directory nor in the data folder {root}: check the path, or "
            "name the folder by --data-dir"
        )
    return place
