"""Reading a run's manifest and metrics, which may be damaged, or come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustfw.errors import RunError
from robustfw.storage.files import parse_json, read_bytes, read_json

PARTS = ("dataset", "model", "uncertainty", "attack", "objective", "train")
"""What the recipe in a manifest is made of."""


def read_manifest(path: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        RunError: there is none, it cannot be read, or it is none.
    """
    folder, advice = path.parent, "without it the run cannot be used: train again with another --out"
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise RunError(f"there is no run in {folder}: name a directory that robustfw train made") from None
    except NotADirectoryError:
        raise RunError(f"{folder} is a file: name a directory that robustfw train made") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; mend that, and try again") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); {advice}") from error
    if not is_manifest(manifest):
        raise RunError(f"{path} is not the manifest of a run: its recipe or its data are missing; {advice}")
    return dict(manifest)


def is_manifest(value: object) -> bool:
    """Whether all is there that a run is taken up again from."""
    if not isinstance(value, dict):
        return False
    recipe, data = value.get("recipe"), value.get("data")
    if not (isinstance(recipe, dict) and isinstance(data, dict)):
        return False
    objective = recipe.get("objective")  # a sum of several is a list
    objectives = objective if isinstance(objective, list) and objective else [objective]
    parts = [recipe.get(part) for part in PARTS if part != "objective"] + objectives
    known = isinstance(data.get("hash"), str) and isinstance(data.get("spec"), dict)
    tuned = value.get("tuning", {})
    counted = type(value.get("processes", 1)) is int and (tuned is None or isinstance(tuned, dict))
    return known and counted and all(isinstance(part, dict) for part in parts)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The finished epochs of a run, none where there is no file; a last line that was cut off is no epoch.

    Raises:
        RunError: it cannot be read, or a line of it is no epoch.
    """
    try:
        *whole, _ = read_bytes(path).split(b"\n")
        lines = [parse_json(line) for line in whole]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; mend that, and try again") from error
    except ValueError:
        lines = [None]
    if not all(isinstance(line, dict) and type(line.get("epoch")) is int for line in lines):
        raise RunError(f"{path} is damaged: move it away to go on without the record of past epochs")
    return lines
