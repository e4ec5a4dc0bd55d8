"""The kinds of results that are registered: robustfw's own and those of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw.errors import PluginError
from robustfw.results._kind import ResultKind

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry


def kinds_by_name(known: Registry | None = None) -> dict[str, ResultKind]:
    """Every registered kind of result by its name, in the order in which a report shows them.

    Args:
        known: The registry that is asked; the installed plugins' without it.

    Raises:
        PluginError: a kind of a plugin cannot be made.
    """
    from robustfw.plugin import registry

    kinds = {}
    for entry in (known or registry.installed()).entries_of_kind(ResultKind.kind):
        try:
            kinds[entry.name] = entry.cls()
        except Exception as error:
            # a stranger's class may raise anything
            raise PluginError(
                f"the kind of result {entry.name!r} of {entry.distribution} fails: {error}"
            ) from error
    return dict(sorted(kinds.items(), key=lambda item: (item[1].place, item[0])))
