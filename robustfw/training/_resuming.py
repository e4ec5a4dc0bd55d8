"""Checks that a resumed training is the one that stopped, and warns of what is lost of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.errors import RobustfwWarning, RunError
from robustfw.plugin._fields import aliases, fields, name_of
from robustfw.plugin.options import same_values, spell
from robustfw.plugin.registry import installed
from robustfw.stateful import forgetful_parts, stateful_parts
from robustfw.training import parallel
from robustfw.training.recipe import Recipe, TrainOptions

if TYPE_CHECKING:
    from robustfw.training._state import State

MACHINE = ("threads", "device")
"""Options that say where a training runs: it may be resumed with others."""


def check_same_training(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    """Make sure that a resumed training is the one that stopped.

    Args:
        before: the manifest of the run.
        now: the manifest of the training that would go on.
        out: the run directory, for the message.

    It may have more epochs than the one that stopped.

    Raises:
        RunError: the recipe, the number of processes or the data are others, or the epochs are fewer.
    """
    recipe_before = _read_deciding_recipe(before)
    recipe_now = _read_deciding_recipe(now)
    epochs_before = recipe_before["train"].pop("epochs")
    epochs = recipe_now["train"].pop("epochs")
    if epochs < epochs_before:
        raise RunError(
            f"the run in {out} is a training of {epochs_before} epochs, which can go on for more, not end after "
            f"{epochs}: leave out --epochs, or choose another --out"
        )
    changed = "; ".join(find_differences(recipe_before, recipe_now))
    if changed:
        raise RunError(
            f"the run in {out} has another recipe ({changed}): leave that option out to go on with it, or choose "
            "another --out"
        )
    if before.get("processes") != now["processes"]:
        raise RunError(
            f"the run in {out} was trained by {before.get('processes')} processes, not {now['processes']}, each with "
            "random numbers of its own: go on with as many, or choose another --out"
        )
    if before["data"]["hash"] != now["data"]["hash"]:
        raise RunError(
            f"the run in {out} was trained on other data: give the folder of its own by --data-dir, or choose "
            "another --out"
        )


def extend_manifest(
    before: Mapping[str, Any], now: dict[str, Any], state: State
) -> dict[str, Any] | None:
    """The manifest of a run that goes on for more epochs than it had; None where it has as many.

    Its recipe has the new number of epochs. What the best weights measured at the end of the shorter training is left
    out, since other weights may be the best at the end of the longer one.

    Args:
        before: the manifest of the run.
        now: the manifest of the training that goes on.
        state: the restored state.
    """
    epochs_before = _read_deciding_recipe(before)["train"]["epochs"]
    epochs = now["recipe"]["train"]["epochs"]
    if epochs == epochs_before:
        return None
    extension = {
        "epoch": state.epoch,
        "epochs_before": epochs_before,
        "epochs": epochs,
        "learning_rate_before": state.rate_before,
        "learning_rate": state.learning_rate,
    }
    manifest = {name: value for name, value in before.items() if name != "result"}
    train = before["recipe"]["train"] | {"epochs": epochs}
    manifest["recipe"] = before["recipe"] | {"train": train}
    manifest["extensions"] = [*before.get("extensions", []), extension]
    return manifest


def describe_extension(extension: Mapping[str, Any], schedule: str) -> str:
    """What becomes of the learning rate in a training that goes on for more epochs, in a sentence.

    Args:
        extension: the last entry of ``extensions`` in the manifest.
        schedule: the spec of the schedule.
    """
    rate_before = extension["learning_rate_before"]
    rate = extension["learning_rate"]
    if rate_before is None or rate_before == rate:
        rates = f"the learning rate stays {rate:.3g} at first"
    else:
        rates = f"the learning rate goes from {rate_before:.3g} to {rate:.3g}"
    return (
        f"going on from epoch {extension['epoch']} to {extension['epochs']} epochs instead of "
        f"{extension['epochs_before']}: from here on the schedule {schedule} is that of the longer training, and "
        f"{rates}"
    )


def _read_deciding_recipe(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe in a manifest, of whose options for training only those are left that decide its numbers."""
    recipe = rename_options(manifest["recipe"])
    # a run of an older version does not name every option: it was trained with the default
    options = installed().record(TrainOptions()) | dict(recipe["train"])
    recipe["train"] = {
        name: value for name, value in options.items() if name not in MACHINE
    }
    return recipe


def rename_options(recorded: Any) -> Any:
    """A recorded recipe, or a part of it, with today's names of options in the place of their aliases.

    A run of an older version may have an option under a name that is an alias now.
    """
    if isinstance(recorded, list):
        return [rename_options(part) for part in recorded]
    if not isinstance(recorded, Mapping):
        return recorded
    table = {name: rename_options(value) for name, value in recorded.items()}
    use = table.get("use")
    if not isinstance(use, str):
        return table
    registry = installed()
    for kind in registry.kinds:
        entries = registry.entries_of_kind(kind)
        for entry in entries:
            if entry.name == use:
                table = _rename_options_of(entry.cls, table)
    return table


def _rename_options_of(cls: type, table: dict[str, Any]) -> dict[str, Any]:
    """The options of one plugin by their own names; what is no option of it stays."""
    own_name = {
        alias: name_of(field) for field in fields(cls) for alias in aliases(field)
    }
    return {own_name.get(name, name): value for name, value in table.items()}


def find_differences(
    before: Mapping[str, Any], now: Mapping[str, Any], owner: str = ""
) -> Iterator[str]:
    """What differs between two recorded recipes, in words; of another plugin, its name only.

    Args:
        before: the recipe of the run, or a part of it.
        now: the recipe or the part of the training that would go on; what only ``before`` has does not count.
        owner: the path of the part in the recipe, with a dot at its end.
    """
    other_plugin = now.get("use") != before.get("use")
    keys = ["use"] if other_plugin else list(now)
    for key in keys:
        value_before = before.get(key)
        value_now = now[key]
        if isinstance(value_before, Mapping) and isinstance(value_now, Mapping):
            yield from find_differences(value_before, value_now, f"{owner}{key}.")
        elif not same_values(value_before, value_now):
            yield f"{owner}{key} is {_spell_value(value_before)} there and {_spell_value(value_now)} here"


def _spell_value(value: Any) -> str:
    """A recorded value in a sentence: plugins as specs."""
    parts = value if isinstance(value, list) else [value]
    all_plugins = all(isinstance(part, Mapping) and "use" in part for part in parts)
    return spell(value) if all_plugins else str(value)


def warn_of_lost_state(recipe: Recipe) -> None:
    """Warn of parts whose past no checkpoint holds: the resumed training is not the uninterrupted one."""
    lost = list(forgetful_parts(recipe))
    # only the first process saves, so the state of parts on the others is lost
    if parallel.world() > 1:
        lost += [path for path, _ in stateful_parts(recipe)]
    if lost:
        warnings.warn(
            f"{' and '.join(lost)} of the recipe remember what they have seen, and the checkpoint does not hold all of "
            "it: the resumed training is not bit for bit the uninterrupted one",
            RobustfwWarning,
            stacklevel=3,
        )
