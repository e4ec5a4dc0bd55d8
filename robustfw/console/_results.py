"""Prints results, each as its kind puts it into lines and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.console._output import line, problem, table
from robustfw.errors import PluginError
from robustfw.results import Caution, Table
from robustfw.storage.files import json_value

if TYPE_CHECKING:
    from robustfw.analysis._lipschitz import NetBound, Slopes
    from robustfw.evaluation import Comparison, Sweep
    from robustfw.evaluation._audit import Audit
    from robustfw.evaluation._transfer import Transfer
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


def audit(result: Audit, uncertainty: str, attack: str, split: str) -> None:
    """Print the masking checklist: each line with its numbers, advice below those that failed, and the verdict.

    Args:
        result: the audit.
        uncertainty: the spec of the set.
        attack: the spec of the attack.
        split: the name of the split that was attacked.
    """
    circumstances = {"uncertainty": uncertainty, "attack": attack, "split": split}
    show("audit", result.describe() | circumstances)


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


def transfer(result: Transfer, path: str, source: str) -> None:
    """Print a net's accuracy on adversarial examples that were crafted against another.

    Args:
        result: the measurement.
        path: the directory of the collection.
        source: the run whose net was attacked.
    """
    circumstances = {"collection": path, "source": source}
    show("transfer", attrs.asdict(result) | circumstances)


def sweep(
    result: Sweep, radii: Sequence[float], unit: float, uncertainty: str, attack: str
) -> None:
    """Print the accuracy at each radius, and the smallest radii that fool the net.

    Args:
        result: the measurement, with radii as shares of ``unit``.
        radii: the radii of the sets.
        unit: the radius of the set at full size.
        uncertainty: the spec of the set.
        attack: the spec of the attack.
    """
    low, median, high = (unit * quartile for quartile in result.quartiles)
    minimal = {"median": median, "quartiles": [low, high], "beyond": result.beyond}
    circumstances = {
        "uncertainty": uncertainty,
        "attack": attack,
        "radii": list(radii),
        "minimal_radius": minimal,
    }
    show("sweep", attrs.asdict(result) | circumstances)


def comparison(
    results: Mapping[str, Comparison], n: int, runs: tuple[str, str]
) -> None:
    """Print how many examples each of two nets has right that the other has not, clean and under attack.

    Args:
        results: the comparisons by name.
        n: how many examples were attacked.
        runs: the directories of the two runs.
    """
    pairs = {name: attrs.asdict(result) for name, result in results.items()}
    circumstances = {"n": n, "runs": list(runs), "uncertainty": "", "attacks": []}
    show("comparison", pairs | circumstances)


def distinguishability(
    spaces: Sequence[Mapping[str, Any]], n: int, labels: Sequence[str] | None
) -> None:
    """Print the bounds of each space: the closest pair of classes, the median, the one farthest apart.

    Args:
        spaces: the bounds in each space.
        n: how many examples they are from.
        labels: names of the classes, where the data has them.
    """
    result = {"spaces": list(spaces), "examples": n, "split": ""}
    show("distinguishability", result, labels)


def print_fooling(
    searches: Sequence[Mapping[str, Any]],
    target: float,
    path: str,
    labels: Sequence[str] | None,
) -> None:
    """Print which classes' images reached the target confidence, and with what effort.

    Args:
        searches: the search for each class.
        target: the confidence to reach.
        path: the file of the images.
        labels: names of the classes, where the data has them.
    """
    result = {
        "range": [0.0, 1.0],
        "shape": [],
        "images": path,
        "searches": list(searches),
        "target": target,
    }
    show("fooling", result, labels)


def lipschitz(layers: NetBound, slopes: Slopes, levels: Sequence[float]) -> None:
    """Print each layer's Lipschitz constant, and bounds on the net's.

    Args:
        layers: the constants of the layers.
        slopes: slopes of the net that were measured.
        levels: the shares of the examples at which the slopes have quantiles.
    """
    bounds = {"upper": layers.upper, "levels": list(levels)}
    show("lipschitz", attrs.asdict(layers) | bounds | attrs.asdict(slopes))
