"""Prints results, each as its kind puts it into lines and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustfw.console._output import line, problem, table
from robustfw.errors import PluginError
from robustfw.results import Caution, Table
from robustfw.storage.files import json_value

if TYPE_CHECKING:
    from robustfw.plugin.registry import Registry


def show(
    kind: str,
    result: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    *,
    known: Registry | None = None,
) -> None:
    """Print a result of any kind, as its file in the folder ``results`` of a run holds it.

    Args:
        kind: the name of a registered `robustfw.results.ResultKind`.
        result: the numbers with their circumstances: what `robustfw.results.keep` was given.
        labels: names of the classes, where the data has them.
        known: the registry that knows the kind; by default that of the installed plugins.

    Raises:
        PluginError: there is no such kind, or the result has not its fields.
    """
    from robustfw.results._reading import Misfit, structure
    from robustfw.results._registered_kinds import kinds_by_name

    kinds = kinds_by_name(known)
    if kind not in kinds:
        raise PluginError(
            f"no kind of result is called {kind!r}: register it by add({kind!r}, …)"
        )
    try:
        fields: Any = structure(json_value(dict(result)), kinds[kind].fields)
    except Misfit as error:
        raise PluginError(
            f"what was measured is no result of the kind {kind!r}: {error}"
        ) from error
    for part in kinds[kind].lines(fields, labels):
        if isinstance(part, Table):
            table(part.title, part.columns, part.rows)
        elif isinstance(part, Caution):
            problem(part.text)
        else:
            line(part)


def collection(manifest: Mapping[str, Any], path: str) -> None:
    """Print how many adversarial examples a collection holds, by its manifest, and its path."""
    rows = [[part["uncertainty"], str(part["n"])] for part in manifest["sets"]]
    table("uncertainty set", ["", "examples that fool the net"], rows)
    attempts = manifest["data"]["tried"]
    line(
        f"{manifest['n']} adversarial examples by {manifest['attack']}, of {attempts} examples tried with each set"
    )
    line(
        f"{manifest['fooling_8bit']} of them still fool the net after rounding to 8 bits"
    )
    line(f"collection: {path}")
