"""The net and the data of a run, made again from its manifest and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from robustfw.data.spec import DataSpec
from robustfw.errors import RunError
from robustfw.plugin.registry import Registry
from robustfw.storage.runs import Run
from robustfw.training._manifest import plugin_names


def named_parts(run: Run, *kinds: str) -> dict[str, Any]:
    """The recipe in a run's manifest; its parts of these kinds must have names, by which they can be made again."""
    recipe: dict[str, Any] = run.manifest()["recipe"]
    for kind in kinds:
        named_part(recipe, kind, str(run.path))
    return recipe


def named_part(recipe: Mapping[str, Any], kind: str, run: str) -> Any:
    """A part of a recorded recipe, which must have a name by which it can be made again.

    Raises:
        RunError: it was given as an object.
    """
    if any(":" in name for name in plugin_names(recipe[kind])):
        by = {"model": "robustfw.load(run, model=net)", "uncertainty": "--uncertainty"}.get(kind, "its program")
        raise RunError(
            f"the {kind} of the run in {run} was given as an object, which only the program that made the run has: use "
            f"{by}"
        )
    return recipe[kind]


def rebuild(run: Run, registry: Registry, model: nn.Module | None = None, *, weights: str = "best") -> nn.Module:
    """The trained net of a run, in evaluation mode; needs no data.

    Args:
        model: a net of the run's architecture to load the weights into; by default a new one, on the CPU.
        weights: ``best``, of highest robust validation accuracy, or ``last``.
    """
    if model is None:
        model = _build_untrained(run, registry)
    try:
        model.load_state_dict(run.weights(weights))
    except RuntimeError as error:
        raise RunError(
            f"the weights in {run.path} do not fit its model: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval()


def read_spec(run: Run, registry: Registry) -> DataSpec:
    """The data spec in a run's manifest."""
    facts = run.manifest()["data"]["spec"]
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    if "task" in given:
        given["task"] = registry.make("task", given["task"])
    try:
        return DataSpec(**given)
    except (TypeError, ValueError) as error:
        raise RunError(f"the manifest of {run.path} does not describe its data ({error}); train again") from error


def _build_untrained(run: Run, registry: Registry) -> nn.Module:
    return registry.make("model", named_parts(run, "model")["model"]).build_untrained(read_spec(run, registry))
