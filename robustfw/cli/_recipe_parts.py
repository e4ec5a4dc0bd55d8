"""The parts of a recipe, from a file, a recorded run and flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.errors import UsageError
from robustfw.plugin import options
from robustfw.training.recipe import TrainOptions

if TYPE_CHECKING:
    pass


KINDS = ("dataset", "model", "uncertainty", "attack", "objective")
"""Kinds of plugins that a training is made of; each has a flag."""


def collect_parts(recipe: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """The recipe file's parts, with the flags over them."""
    parts_of_file = {} if recipe is None else _read_toml(recipe)
    parts: dict[str, Any] = {}
    train = {}
    for name, value in flags.items():
        if value is None:
            continue
        if name in KINDS:
            parts[name] = value
        else:
            train[name] = options.read_value(value)
    return merge_parts(parts_of_file, parts | {"train": train})


def merge_parts(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The parts of two recipes as one, options of the engine one by one; what is above wins."""
    train_below = below.get("train", {})
    train_above = above.get("train", {})
    train = train_below | train_above
    return below | above | {"train": train}


def _read_toml(path: Path) -> dict[str, Any]:
    """The parts of a recipe file; a `UsageError` where it is none."""
    try:
        parts = options.read_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the recipe {path} is not TOML, which is text in UTF-8: {error}"
        ) from error
    except UsageError as error:
        raise UsageError(
            f"the recipe {path} {str(error).removeprefix('it ')}"
        ) from error
    if not isinstance(parts.get("train", {}), dict):
        raise UsageError(
            f"in the recipe {path} train is {parts['train']!r}: make it a table [train]"
        )
    if "train" in parts:
        parts["train"] = options.resolve_names(
            TrainOptions, parts["train"], f"train in {path}"
        )
    return parts


def read_recorded_recipe(out: Path) -> dict[str, Any]:
    """The recipe in a run's manifest."""
    from robustfw.storage.runs import Run
    from robustfw.training import _reopen

    return _reopen.read_recipe(Run.open(out), *KINDS)
