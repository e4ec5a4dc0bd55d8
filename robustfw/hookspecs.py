"""The six hooks of robustfw. A plugin is a module that implements one or more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import pluggy

if TYPE_CHECKING:
    import click

    from robustfw.records import Record
    from robustfw.reproduction import Experiment, Judge

hookspec = pluggy.HookspecMarker("robustfw")
"""Marks the functions here as hooks."""
hookimpl = pluggy.HookimplMarker("robustfw")
"""Marks a plugin's function as the implementation of a hook: ``@robustfw.hookimpl``."""

Outcome: TypeAlias = Literal["finished", "stopped"] | Exception
"""The end of a training: "finished" after its last epoch, "stopped" by its user, or the exception that ended it."""


class Add(Protocol):
    """The function that ``robustfw_register`` is given, which offers a class by name."""

    def __call__(
        self,
        name: str,
        target: type | str,
        /,
        *,
        kind: str | None = None,
        aliases: Sequence[str] = (),
        instead_of: Sequence[str] = (),
        summary: str = "",
    ) -> None:
        """Offer a class by name: ``add("ellipsoid", Ellipsoid)``.

        Args:
            name: what specs and records call it.
            target: the class, or ``"module:Class"``, which is imported when the class is first used.
            kind: the name of the kind; needed with ``"module:Class"``, otherwise the base class says it.
            aliases: other names of it for specs, such as ``("fgsm",)``; records hold ``name``.
            instead_of: names of things that are not offered, whose users are pointed here.
            summary: one line for the list of plugins, which otherwise imports the class and shows its docstring.
        """


@hookspec
def robustfw_register(add: Add) -> None:
    """Offer classes by name: ``add("ellipsoid", Ellipsoid)``. The kind follows from the base class."""


@hookspec
def robustfw_start(run: Path | None, recipe: Mapping[str, Any]) -> None:
    """Hear that a training begins: its run directory, None if it has none, and its recipe as the manifest holds it."""


@hookspec
def robustfw_record(run: Path | None, record: Record) -> None:
    """See every record that a training yields."""


@hookspec
def robustfw_end(run: Path | None, outcome: Outcome) -> None:
    """Hear how a training ended: ``"finished"``, ``"stopped"`` by its user, or the exception that ended it."""


@hookspec(firstresult=True)
def robustfw_judge(experiment: Experiment) -> Judge | None:
    """Give the judge of an experiment (``robustfw reproduce``) whose ``claims`` are yours; None for any other."""


@hookspec
def robustfw_commands(cli: click.Group) -> None:
    """Add commands to ``robustfw``."""
