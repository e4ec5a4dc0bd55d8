"""The three hooks of robustfw. A plugin is a module that implements one or more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import click

    from robustfw.records import Record

hookspec = pluggy.HookspecMarker("robustfw")
hookimpl = pluggy.HookimplMarker("robustfw")


class Add(Protocol):
    """What ``robustfw_register`` is given."""

    def __call__(self, name: str, cls: type, /) -> None: ...


@hookspec
def robustfw_register(add: Add) -> None:
    """Offer classes by name: ``add("ellipsoid", Ellipsoid)``. The kind follows from the base class."""


@hookspec
def robustfw_record(record: Record) -> None:
    """See every record that a training yields; for loggers."""


@hookspec
def robustfw_commands(cli: click.Group) -> None:
    """Add commands to ``robustfw``."""
