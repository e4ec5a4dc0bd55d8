"""What measuring commands record beside their numbers: task, set, attacks, and the command itself."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustfw.plugin import options, registry

if TYPE_CHECKING:
    from robustfw.attack import Attack
    from robustfw.data.spec import DataSpec
    from robustfw.evaluation._gallery import Gallery
    from robustfw.task import Task
    from robustfw.uncertainty import UncertaintySet


def keep_worst_cases(
    home: Path, circumstances: dict[str, Any], gallery: Gallery, spec: DataSpec
) -> None:
    """Leave examples that were fooled in a run's results, if there are any.

    Args:
        home: the run directory.
        circumstances: what was measured and how, with ``uncertainty``, ``attacks`` and ``split`` among it.
        gallery: the examples.
        spec: the range of the data.
    """
    from robustfw import results

    if gallery.pictures is None:
        return
    originals, adversarials = gallery.pictures
    lower, upper = spec.bounds or (None, None)
    # a range for each feature is none for pictures
    if isinstance(lower, float) and isinstance(upper, float):
        bounds = (lower, upper)
    else:
        bounds = None
    results.keep_worst_cases(
        home,
        circumstances,
        originals,
        adversarials,
        gallery.before,
        gallery.after,
        command_line(),
        bounds=bounds,
    )


def task_facts(known: registry.Registry, task: Task) -> dict[str, Any]:
    """The task as results record it; classification, which most data have, goes without saying."""
    spec = known.spell(task)
    if spec == "classification":
        return {}
    return {"task": spec}


def attack_facts(
    known: registry.Registry, uncertainty: UncertaintySet, attacks: list[Attack]
) -> dict[str, Any]:
    """The set and the attacks in full, as results record them.

    Args:
        known: the installed plugins.
        uncertainty: the set.
        attacks: what is tried.
    """
    return {
        "uncertainty": known.spell(uncertainty),
        "attacks": [known.spell(attack) for attack in attacks],
        "radius": radius_of(known, uncertainty),
    }


def radius_of(known: registry.Registry, uncertainty: UncertaintySet) -> Any:
    """The radius of a set as a number, or one per channel; None where it has none."""
    return options.number(known.record(uncertainty).get("radius"))


def command_line() -> str:
    """The command under way, as it was typed."""
    typed = click.get_current_context().find_root().obj
    return shlex.join(["robustfw", *(sys.argv[1:] if typed is None else typed)])
