"""Whether a training that goes on is the one that stopped, and what of it is lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustfw.errors import RobustfwWarning, RunError
from robustfw.plugin.options import same, spell
from robustfw.plugin.registry import installed
from robustfw.stateful import forgetful_parts, stateful_parts
from robustfw.training import parallel
from robustfw.training.recipe import Recipe, TrainOptions

MACHINE = ("threads", "device")
"""Options of a training that say where it runs: a run may be gone on with elsewhere."""


def check_same_training(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    then, here = ({**each["recipe"], "train": deciding_options(each["recipe"]["train"])} for each in (before, now))
    changed = "; ".join(find_differences(then, here))
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


def deciding_options(train: Mapping[str, Any]) -> dict[str, Any]:
    """The training's options that decide its numbers; those that a run says nothing of, as it is older, by default."""
    whole = installed().record(TrainOptions()) | dict(train)
    return {name: value for name, value in whole.items() if name not in MACHINE}


def find_differences(before: Mapping[str, Any], now: Mapping[str, Any], owner: str = "") -> Iterator[str]:
    """What of ``now`` is otherwise in ``before``, in words; of another plugin, its name only."""
    keys = ["use"] if now.get("use") != before.get("use") else list(now)
    for key in keys:
        there, here = before.get(key), now[key]
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            yield from find_differences(there, here, f"{owner}{key}.")
        elif not same(there, here):
            yield f"{owner}{key} is {say(there)} there and {say(here)} here"


def say(value: Any) -> str:
    """A recorded value in a sentence: plugins as specs."""
    plugins = value if isinstance(value, list) else [value]
    return spell(value) if all(isinstance(each, Mapping) and "use" in each for each in plugins) else str(value)


def warn_of_lost_state(recipe: Recipe) -> None:
    """Warn of parts whose past no checkpoint holds: the resumed training is not the uninterrupted one."""
    lost = list(forgetful_parts(recipe))
    if parallel.world() > 1:
        lost += [way for way, _ in stateful_parts(recipe)]  # only the first process saves
    if lost:
        warnings.warn(
            f"{' and '.join(lost)} of the recipe remember what they have seen, and the checkpoint does not hold all of "
            "it: the resumed training is not bit for bit the uninterrupted one",
            RobustfwWarning,
            stacklevel=3,
        )
