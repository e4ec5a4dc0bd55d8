"""Rebuilds the net and the data of a run from its manifest and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from robustfw.data.spec import DataSpec
from robustfw.errors import RunError
from robustfw.plugin.registry import Registry
from robustfw.storage.files import hash_file
from robustfw.storage.runs import Run
from robustfw.training._manifest import plugin_names


def read_recipe(run: Run, *kinds: str) -> dict[str, Any]:
    """The recipe in a run's manifest, whose parts of these kinds can be made again by their names.

    Raises:
        RunError: a part of these kinds was given as an object, which has no name.
    """
    recipe: dict[str, Any] = run.manifest()["recipe"]
    for kind in kinds:
        read_part(recipe, kind, str(run.path))
    return recipe


def read_part(recipe: Mapping[str, Any], kind: str, run: str) -> Any:
    """The spec of a part of a recorded recipe, by which it can be made again.

    Args:
        recipe: the recipe in a run's manifest.
        kind: the kind of the part, such as "model".
        run: the directory of the run, for the message.

    Raises:
        RunError: the part was given as an object, which has no name, or the net was adopted and has no such part.
    """
    if kind not in recipe:
        raise RunError(
            f"the net in {run} was trained elsewhere, so that there is no {kind} to go on with: robustfw train --from "
            f"{run} trains it further"
        )
    if any(":" in name for name in plugin_names(recipe[kind])):
        by = {
            "model": "robustfw.load(run, model=net)",
            "uncertainty": "--uncertainty",
        }.get(kind, "its program")
        raise RunError(
            f"the {kind} of the run in {run} was given as an object, which only the program that made the run has: use "
            f"{by}"
        )
    return recipe[kind]


def rebuild(
    run: Run,
    registry: Registry,
    model: nn.Module | None = None,
    *,
    weights: str = "best",
) -> nn.Module:
    """The trained net of a run, in evaluation mode; needs no data.

    Args:
        run: the run.
        registry: the plugins, of which one builds the net.
        model: a net of the run's architecture to load the weights into; by default a new one, on the CPU.
        weights: ``best``, of highest robust validation accuracy, or ``last``.

    Raises:
        RunError: the weights are missing or do not fit, or the net was given as an object.
    """
    if model is None:
        _check_files(run)
        model = _build_untrained(run, registry)
    try:
        model.load_state_dict(run.weights(weights))
    except RuntimeError as error:
        raise RunError(
            f"the weights in {run.path} do not fit its model: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval()


def read_spec(run: Run, registry: Registry) -> DataSpec:
    """The data spec in a run's manifest.

    Raises:
        RunError: what the manifest has is none.
    """
    facts = run.manifest()["data"]["spec"]
    values: dict[str, Any] = {}
    for key, value in facts.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    if "task" in values:
        values["task"] = registry.make("task", values["task"])
    try:
        return DataSpec(**values)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"the manifest of {run.path} does not describe its data ({error}); train again"
        ) from error


def _check_files(run: Run) -> None:
    """Raise a `RunError` where a file that an adopted net is built from is gone or is another one by now."""
    for name, recorded in run.manifest().get("adopted", {}).get("files", {}).items():
        try:
            found = hash_file(Path(name))
        except OSError as error:
            raise RunError(
                f"{name}, which the net in {run.path} is built from, cannot be read ({error.strerror}): put it back, "
                "or adopt the net again"
            ) from error
        if found != recorded:
            raise RunError(
                f"{name}, which the net in {run.path} is built from, has changed since: adopt the net again"
            )


def _build_untrained(run: Run, registry: Registry) -> nn.Module:
    """A new net of a run's architecture, on the CPU, with weights that mean nothing yet."""
    model = registry.make("model", read_recipe(run, "model")["model"])
    return model.build_untrained(read_spec(run, registry))
