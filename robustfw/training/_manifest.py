"""The manifest of a run: what it says about the training."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from robustfw.data.splits import Splits
from robustfw.plugin.registry import Registry
from robustfw.training import hardware, parallel
from robustfw.training.recipe import Recipe
from robustfw.version import __version__


def compose_manifest(
    recipe: Recipe,
    registry: Registry,
    all_data: Splits,
    splits: Splits,
    device: torch.device,
) -> dict[str, Any]:
    """A run's manifest: the training's recipe, plugins, data, code and machine, as JSON takes it.

    Args:
        recipe: the recipe, as it was given.
        registry: the plugins.
        all_data: the data as the data set has it, whose hash is recorded.
        splits: what the training takes of it.
        device: where the training runs.
    """
    record = describe(registry.record(recipe), registry)
    circumstances = describe_circumstances(record, registry, splits, device)
    circumstances["data"]["hash"] = all_data.fingerprint()
    return circumstances | {"ascent_mode": recipe.train.ascent_mode}


def describe_circumstances(
    recipe: Mapping[str, Any], registry: Registry, splits: Splits, device: torch.device
) -> dict[str, Any]:
    """What every manifest says: versions, the recipe or the parts of one, their plugins, the data, the machine.

    Args:
        recipe: the recorded parts by kind.
        registry: the plugins.
        splits: the data.
        device: where the net is.
    """
    spec = attrs.asdict(splits.spec, recurse=False) | {
        "task": registry.record(splits.spec.task)
    }
    return {
        "robustfw": __version__,
        "commit": read_commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recipe": dict(recipe),
        "plugins": find_origins(recipe, registry),
        "data": {
            "hash": splits.fingerprint(),
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
            "spec": describe(spec, registry),
        },
        "bounds": describe(splits.spec.bounds, registry),
        "processes": parallel.world(),
        "hardware": hardware.describe(device),
    }


def describe(value: Any, registry: Registry) -> Any:
    """A value as JSON takes it; an object that a program has given is named by its class."""
    if isinstance(value, Mapping):
        return {key: describe(part, registry) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [describe(part, registry) for part in value]
    if isinstance(value, str | int | float | None):
        return value
    return {"use": registry.name_of(value)}


def find_origins(record: Mapping[str, Any], registry: Registry) -> dict[str, str]:
    """The distribution behind each part of the recipe."""
    distributions = {}
    for entry in registry.entries.values():
        distributions[(entry.kind, entry.name)] = entry.distribution
    origins: dict[str, str] = {}
    for kind, part in record.items():
        of_part = [
            distributions.get((kind, name), "given as an object")
            for name in plugin_names(part)
        ]
        if of_part:
            origins[kind] = ", ".join(dict.fromkeys(of_part))
    return origins


def plugin_names(part: Any) -> list[str]:
    """The names of the plugins that a part of a recorded recipe is made of: one, or several where they are a sum."""
    summands = part if isinstance(part, list) else [part]
    return [
        str(spec["use"])
        for spec in summands
        if isinstance(spec, Mapping) and "use" in spec
    ]


def read_commit() -> str | None:
    """The commit of the checkout that robustfw is imported from, if it is one."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return answer.stdout.strip() or None
