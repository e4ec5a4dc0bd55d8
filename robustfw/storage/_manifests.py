"""Reads a run's manifest and metrics, which may be damaged or come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustfw.errors import RunError
from robustfw.storage.files import parse_json, read_bytes, read_json

PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")
"""The parts of the recipe in a manifest."""
ADOPTED_PARTS = ("dataset", "model")
"""The parts that the recipe of a net has which was trained elsewhere; it may have a set as well."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a run.

    Raises:
        RunError: there is none, it cannot be read, or it is none.
    """
    folder = path.parent
    advice = "without it the run cannot be used: train again with another --out"
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise RunError(
            f"there is no run in {folder}: name a directory that robustfw train made"
        ) from None
    except NotADirectoryError:
        raise RunError(
            f"{folder} is a file: name a directory that robustfw train made"
        ) from None
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror}; mend that, and try again"
        ) from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); {advice}") from error
    if not is_manifest(manifest):
        raise RunError(
            f"{path} is not the manifest of a run: its recipe or its data are missing; {advice}"
        )
    return dict(manifest)


def is_manifest(value: object) -> bool:
    """Whether a value has all that is needed to resume or to evaluate a run."""
    if not isinstance(value, dict):
        return False
    recipe = value.get("recipe")
    data = value.get("data")
    if not (isinstance(recipe, dict) and isinstance(data, dict)):
        return False

    # 1. the recipe: each part is an object, an objective with penalties a list of them
    if isinstance(value.get("adopted"), dict):
        if not all(isinstance(recipe.get(part), dict) for part in ADOPTED_PARTS):
            return False
        return _is_data(data)
    objective = recipe.get("objective")
    objectives = objective if isinstance(objective, list) and objective else [objective]
    other_parts = []
    for part in PARTS:
        if part != "objective":
            other_parts.append(recipe.get(part))
    if not all(isinstance(part, dict) for part in [*other_parts, *objectives]):
        return False

    # 2. the data
    if not _is_data(data):
        return False

    # 3. what older runs do not have
    processes = value.get("processes", 1)
    tuning = value.get("tuning", {})
    return type(processes) is int and (tuning is None or isinstance(tuning, dict))


def _is_data(data: dict[str, Any]) -> bool:
    """Whether the data of a manifest can be told from other data, and nets be built for it."""
    return isinstance(data.get("hash"), str) and isinstance(data.get("spec"), dict)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the finished epochs of a run, one object each; there are none where the file does not exist.

    What follows the last line break was cut off by a kill or a full disk, and is no epoch.

    Raises:
        RunError: the file cannot be read, or a line of it is no epoch.
    """
    try:
        *complete_lines, _ = read_bytes(path).split(b"\n")
        lines = [parse_json(line) for line in complete_lines]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror}; mend that, and try again"
        ) from error
    except ValueError:
        lines = [None]
    for line in lines:
        if not isinstance(line, dict) or type(line.get("epoch")) is not int:
            raise RunError(
                f"{path} is damaged: move it away to go on without the record of past epochs"
            )
    return lines
